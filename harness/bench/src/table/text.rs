//! The table as text.

use super::{Goal, Judged, Rival, Row, Unit};

impl Goal {
    fn describe(self, unit: Unit) -> String {
        match self {
            Self::RatioAtMost(rival, most) => format!("≤ {most:.2}x {}", rival.name()),
            Self::LowerEndAtMost(rival, most) => format!("lower end ≤ {most:.2}x {}", rival.name()),
            Self::RatioAtLeast(rival, least) => format!("≥ {least:.2}x {}", rival.name()),
            Self::Below(bound) => format!("< {bound} {}", unit.name()),
            Self::AtLeast(bound) => format!("≥ {bound} {}", unit.name()),
        }
    }
}

impl Row {
    /// The name, our figure, those of the rivals, the goals and the verdict.
    fn cells(&self, rivals: &[Rival]) -> Vec<String> {
        let figure = |figure: f64| format!("{figure:.2} {}", self.unit.name());
        let goals = |wanted: &dyn Fn(&&Judged) -> bool| {
            let goals = self.goals.iter().filter(wanted).map(|judged| judged.goal.describe(self.unit));
            goals.collect::<Vec<_>>().join(", ")
        };
        let rivals = rivals.iter().map(|&rival| {
            self.compared(rival).map_or_else(
                || "-".to_owned(),
                |compared| format!("{} ({:.2}x)", figure(compared.figure), compared.ratio),
            )
        });
        let verdict = match goals(&|judged| !judged.met) {
            _ if self.goals.is_empty() => String::new(),
            missed if missed.is_empty() => "met".to_owned(),
            missed => format!("NOT met: {missed}"),
        };
        let name = [self.what.to_string(), figure(self.ours)];
        name.into_iter().chain(rivals).chain([goals(&|_| true), verdict]).collect()
    }

    /// The name, and the ratios to the rivals with their intervals.
    fn interval_cells(&self, rivals: &[Rival]) -> Vec<String> {
        let interval = |&rival| {
            let compared = self.compared(rival)?;
            let interval = compared.interval?;
            Some(format!("{:.2}x ({:.2}x to {:.2}x)", compared.ratio, interval.low, interval.high))
        };
        let intervals = rivals.iter().map(|rival| interval(rival).unwrap_or_else(|| "-".to_owned()));
        [self.what.to_string()].into_iter().chain(intervals).collect()
    }

    fn has_interval(&self) -> bool {
        self.rivals.iter().any(|compared| compared.interval.is_some())
    }
}

/// The rivals that somebody is compared with, in the order of the columns.
fn rivals(rows: &[&Row]) -> Vec<Rival> {
    let is_there = |rival: &Rival| rows.iter().any(|row| row.compared(*rival).is_some());
    Rival::ALL.into_iter().filter(is_there).collect()
}

fn head(first: &[&str], rivals: &[Rival], last: &[&str]) -> Vec<String> {
    let names = rivals.iter().map(|rival| rival.name());
    first.iter().copied().chain(names).chain(last.iter().copied()).map(str::to_owned).collect()
}

/// The rows as text, in columns, with a head.
pub(crate) fn render(rows: &[Row]) -> String {
    let rivals = rivals(&rows.iter().collect::<Vec<_>>());
    let lines = rows.iter().map(|row| row.cells(&rivals));
    let head = head(&["what", "ours"], &rivals, &["target", ""]);
    align(&[head].into_iter().chain(lines).collect::<Vec<_>>(), 1 + rivals.len())
}

/// The ratios of the rows with their intervals; `None` if there are no intervals.
pub(crate) fn render_intervals(rows: &[Row]) -> Option<String> {
    let rows: Vec<&Row> = rows.iter().filter(|row| row.has_interval()).collect();
    let rivals = rivals(&rows);
    let lines = rows.iter().map(|row| row.interval_cells(&rivals));
    let head = head(&["ours/rival (95 % interval)"], &rivals, &[]);
    let lines: Vec<Vec<String>> = [head].into_iter().chain(lines).collect();
    (!rows.is_empty()).then(|| align(&lines, rivals.len()))
}

/// The cells in columns. The first one is a name; so many `figures` that follow are aligned to the right.
fn align(lines: &[Vec<String>], figures: usize) -> String {
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: Vec<usize> = (0..lines[0].len()).map(width).collect();
    let padded = |line: &Vec<String>| {
        let cells = line.iter().zip(&widths).enumerate().map(|(column, (cell, &width))| {
            if (1..=figures).contains(&column) {
                format!("{cell:>width$}")
            } else {
                format!("{cell:<width$}")
            }
        });
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned() + "\n"
    };
    lines.iter().map(padded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::latencies::Interval;

    fn row(ours: f64) -> Row {
        Row::new("w", Unit::Milliseconds, ours)
    }

    #[test]
    fn columns_are_aligned_and_what_is_missed_is_named() {
        let rows = [
            row(3.0)
                .beside(Rival::Limit, 2.0)
                .judged_by(Goal::RatioAtMost(Rival::Limit, 1.5))
                .judged_by(Goal::Below(2.0)),
            row(12.5).beside(Rival::TunedGo, 50.0),
        ];
        let expected = "\
what      ours            limit          tuned Go  target
w      3.00 ms  2.00 ms (1.50x)                 -  ≤ 1.50x limit, < 2 ms  NOT met: < 2 ms
w     12.50 ms                -  50.00 ms (0.25x)
";
        assert_eq!(render(&rows), expected);
        assert_eq!(render_intervals(&rows), None);
    }

    #[test]
    fn a_baseline_has_a_column_goals_and_intervals() {
        let beside_baseline = row(2.1)
            .beside(Rival::Limit, 2.0)
            .beside(Rival::Baseline, 2.0)
            .between(Rival::Baseline, Interval { low: 1.04, high: 1.06 })
            .judged_beside_baseline([
                Goal::RatioAtMost(Rival::Baseline, 1.05),
                Goal::LowerEndAtMost(Rival::Baseline, 1.03),
            ]);
        let alone = row(1.0).judged_beside_baseline([Goal::RatioAtMost(Rival::Baseline, 1.05)]);
        let rows = [beside_baseline, alone];
        let expected = "\
what     ours            limit         baseline  target
w     2.10 ms  2.00 ms (1.05x)  2.00 ms (1.05x)  ≤ 1.05x baseline, lower end ≤ 1.03x baseline  NOT met: lower end ≤ 1.03x baseline
w     1.00 ms                -                -
";
        assert_eq!(render(&rows), expected);
        let expected = "\
ours/rival (95 % interval)  limit                baseline
w                               -  1.05x (1.04x to 1.06x)
";
        assert_eq!(render_intervals(&rows).as_deref(), Some(expected));
    }
}
