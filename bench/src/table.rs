//! The table of a run: a row a figure.

use serde::Serialize;

/// What a figure counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Unit {
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// 1,000,000 bytes.
    #[serde(rename = "MB")]
    Megabytes,
    /// 1,000 bytes.
    #[serde(rename = "kB")]
    Kilobytes,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
            Self::Megabytes => "MB",
            Self::Kilobytes => "kB",
        }
    }
}

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Goal {
    /// At most so many times the limit.
    RatioAtMost(f64),
    /// Less than this, in the unit of the row.
    Below(f64),
    /// At least this, in the unit of the row: a condition of the measurement.
    AtLeast(f64),
}

/// A figure, and how it compares.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    what: &'static str,
    unit: Unit,
    ours: f64,
    limit: Option<f64>,
    ratio: Option<f64>,
    goal: Option<Goal>,
    met: Option<bool>,
}

impl Row {
    /// A figure without anything to compare it with.
    pub(crate) fn new(what: &'static str, unit: Unit, ours: f64) -> Self {
        Self { what, unit, ours, limit: None, ratio: None, goal: None, met: None }
    }

    /// Compares it with what nothing could be better than, measured in the same run.
    #[must_use]
    pub(crate) fn beside(self, limit: f64) -> Self {
        Self { limit: Some(limit), ratio: Some(self.ours / limit), ..self }
    }

    /// Judges it, as it stands then: a ratio needs its limit before.
    #[must_use]
    pub(crate) fn judged_by(self, goal: Goal) -> Self {
        let met = match goal {
            Goal::RatioAtMost(most) => self.ratio.map(|ratio| ratio <= most),
            Goal::Below(bound) => Some(self.ours < bound),
            Goal::AtLeast(bound) => Some(self.ours >= bound),
        };
        Self { goal: Some(goal), met, ..self }
    }

    fn cells(&self) -> [String; 6] {
        let unit = self.unit.name();
        let or_dash = |text: Option<String>| text.unwrap_or_else(|| "-".to_owned());
        let goal = |goal| match goal {
            Goal::RatioAtMost(most) => format!("≤ {most:.2}x"),
            Goal::Below(bound) => format!("< {bound} {unit}"),
            Goal::AtLeast(bound) => format!("≥ {bound} {unit}"),
        };
        [
            self.what.to_owned(),
            format!("{:.2} {unit}", self.ours),
            or_dash(self.limit.map(|limit| format!("{limit:.2} {unit}"))),
            or_dash(self.ratio.map(|ratio| format!("{ratio:.2}x"))),
            or_dash(self.goal.map(goal)),
            or_dash(self.met.map(|met| if met { "met" } else { "NOT met" }.to_owned())),
        ]
    }
}

/// The rows as text, in columns, with a head.
pub(crate) fn render(rows: &[Row]) -> String {
    let head = ["what", "ours", "limit", "ratio", "target", ""].map(str::to_owned);
    let lines: Vec<[String; 6]> = std::iter::once(head).chain(rows.iter().map(Row::cells)).collect();
    let width = |column: usize| lines.iter().map(|line| line[column].chars().count()).max().unwrap_or(0);
    let widths: [usize; 6] = std::array::from_fn(width);
    let padded = |line: &[String; 6]| {
        let [what, numbers @ .., verdict] = line;
        let what = format!("{what:<0$}", widths[0]);
        let numbers = numbers.iter().zip(&widths[1..]).map(|(cell, width)| format!("{cell:>width$}"));
        let cells: Vec<String> = [what].into_iter().chain(numbers).chain([verdict.clone()]).collect();
        cells.join("  ").trim_end().to_owned() + "\n"
    };
    lines.iter().map(padded).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ours: f64) -> Row {
        Row::new("w", Unit::Milliseconds, ours)
    }

    #[test]
    fn a_goal_is_met_or_not() {
        let cases = [
            (row(3.0).beside(2.0), Goal::RatioAtMost(1.5), Some(true)),
            (row(3.1).beside(2.0), Goal::RatioAtMost(1.5), Some(false)),
            (row(3.0), Goal::RatioAtMost(1.5), None),
            (row(3.0), Goal::Below(3.0), Some(false)),
            (row(2.9), Goal::Below(3.0), Some(true)),
            (row(3.0), Goal::AtLeast(3.0), Some(true)),
            (row(2.9), Goal::AtLeast(3.0), Some(false)),
        ];
        for (row, goal, expected) in cases {
            assert_eq!(row.clone().judged_by(goal).met, expected, "{row:?}, {goal:?}");
        }
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [row(3.0).beside(2.0).judged_by(Goal::RatioAtMost(1.5)), row(12.5)];
        let expected = "\
what      ours    limit  ratio   target
w      3.00 ms  2.00 ms  1.50x  ≤ 1.50x  met
w     12.50 ms        -      -        -  -
";
        assert_eq!(render(&rows), expected);
    }
}
