//! The table of a run: a row a figure.

use serde::Serialize;

/// What a figure counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Unit {
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
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

/// A figure.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) what: &'static str,
    pub(crate) unit: Unit,
    pub(crate) ours: f64,
    /// What nothing could be better than, measured in the same run.
    pub(crate) limit: Option<f64>,
    pub(crate) goal: Option<Goal>,
}

impl Row {
    /// Ours by the limit.
    pub(crate) fn ratio(&self) -> Option<f64> {
        self.limit.map(|limit| self.ours / limit)
    }

    /// Whether the goal is met; `None` where there is none, or no limit to compare with.
    pub(crate) fn met(&self) -> Option<bool> {
        match self.goal? {
            Goal::RatioAtMost(most) => self.ratio().map(|ratio| ratio <= most),
            Goal::Below(bound) => Some(self.ours < bound),
            Goal::AtLeast(bound) => Some(self.ours >= bound),
        }
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
            or_dash(self.ratio().map(|ratio| format!("{ratio:.2}x"))),
            or_dash(self.goal.map(goal)),
            or_dash(self.met().map(|met| if met { "met" } else { "NOT met" }.to_owned())),
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

    fn row(ours: f64, limit: Option<f64>, goal: Option<Goal>) -> Row {
        Row { what: "w", unit: Unit::Milliseconds, ours, limit, goal }
    }

    #[test]
    fn a_goal_is_met_or_not() {
        let cases = [
            (row(3.0, Some(2.0), Some(Goal::RatioAtMost(1.5))), Some(true)),
            (row(3.1, Some(2.0), Some(Goal::RatioAtMost(1.5))), Some(false)),
            (row(3.0, None, Some(Goal::RatioAtMost(1.5))), None),
            (row(3.0, None, Some(Goal::Below(3.0))), Some(false)),
            (row(2.9, None, Some(Goal::Below(3.0))), Some(true)),
            (row(3.0, None, Some(Goal::AtLeast(3.0))), Some(true)),
            (row(3.0, Some(2.0), None), None),
        ];
        for (row, expected) in cases {
            assert_eq!(row.met(), expected, "{row:?}");
        }
    }

    #[test]
    fn columns_are_aligned() {
        let rows = [row(3.0, Some(2.0), Some(Goal::RatioAtMost(1.5))), row(12.5, None, None)];
        let expected = "\
what      ours    limit  ratio   target
w      3.00 ms  2.00 ms  1.50x  ≤ 1.50x  met
w     12.50 ms        -      -        -  -
";
        assert_eq!(render(&rows), expected);
    }
}
