//! The results of the steps, as a table and as JSON.

use std::time::Duration;

use serde::Serialize;

use crate::helm::Version;

/// The outcome of a step.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase", tag = "ended", content = "seen")]
pub(crate) enum Outcome {
    /// It passed; what was observed.
    Passed(String),
    /// It cannot run here; the reason.
    Skipped(String),
    /// It failed; what was expected and what was observed.
    Failed(String),
}

impl Outcome {
    pub(crate) fn word(&self) -> &'static str {
        match self {
            Self::Passed(_) => "ok",
            Self::Skipped(_) => "SKIPPED",
            Self::Failed(_) => "FAILED",
        }
    }

    pub(crate) fn text(&self) -> &str {
        match self {
            Self::Passed(text) | Self::Skipped(text) | Self::Failed(text) => text,
        }
    }
}

/// The result of a step with one version of Helm.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    pub(crate) step: &'static str,
    pub(crate) helm: Version,
    pub(crate) seconds: f64,
    #[serde(flatten)]
    pub(crate) outcome: Outcome,
}

impl Row {
    pub(crate) fn new(step: &'static str, helm: Version, took: Duration, outcome: Outcome) -> Self {
        Self { step, helm, seconds: took.as_secs_f64(), outcome }
    }

    fn cells(&self) -> [String; 3] {
        [self.outcome.word().to_owned(), format!("{:.1} s", self.seconds), first_line(self.outcome.text())]
    }
}

/// One row per step. The versions of Helm are side by side; their observations are below each other if they differ.
pub(crate) fn render(rows: &[Row], versions: &[Version]) -> String {
    let mut steps: Vec<&str> = Vec::new();
    for row in rows {
        if !steps.contains(&row.step) {
            steps.push(row.step);
        }
    }
    let find = |step: &str, version: Version| rows.iter().find(|row| row.step == step && row.helm == version);
    let width = steps.iter().map(|step| step.len()).max().unwrap_or(0);
    let head: Vec<String> = versions.iter().map(|version| format!("{:<17}", version.title())).collect();
    let mut lines = vec![format!("{:<width$}  {}  observations", "step", head.join("  "))];
    for step in steps {
        let cells: Vec<[String; 3]> = versions
            .iter()
            .map(|version| find(step, *version).map_or_else(Default::default, Row::cells))
            .collect();
        let ended: Vec<String> =
            cells.iter().map(|[word, seconds, _]| format!("{word:<7} {seconds:>9}")).collect();
        let mut start = format!("{step:<width$}  {}", ended.join("  "));
        let mut seen: Vec<&String> = cells.iter().map(|[_, _, seen]| seen).collect();
        seen.dedup();
        for seen in seen {
            lines.push(format!("{start}  {seen}"));
            start = " ".repeat(start.len());
        }
    }
    lines.join("\n") + "\n"
}

fn first_line(text: &str) -> String {
    text.lines().next().unwrap_or_default().to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_step_is_a_row_with_the_results_of_each_version() {
        let row = |step, helm, seconds, outcome| Row::new(step, helm, Duration::from_secs(seconds), outcome);
        let rows = [
            row("set", Version::Helm3, 3, Outcome::Passed("same".to_owned())),
            row("drift", Version::Helm3, 12, Outcome::Passed("by a".to_owned())),
            row("set", Version::Helm4, 4, Outcome::Passed("same".to_owned())),
            row("drift", Version::Helm4, 5, Outcome::Failed("by b\nand more".to_owned())),
        ];
        let expected = "\
step   Helm 3             Helm 4             observations
set    ok          3.0 s  ok          4.0 s  same
drift  ok         12.0 s  FAILED      5.0 s  by a
                                             by b
";
        assert_eq!(render(&rows, &[Version::Helm3, Version::Helm4]), expected);
    }
}
