//! The table of a run: a row a figure.

mod text;

use std::borrow::Cow;

use serde::Serialize;
pub(crate) use text::{render, render_intervals};

use crate::latencies::Interval;

/// What a figure counts in.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
pub(crate) enum Unit {
    /// Milliseconds.
    #[serde(rename = "ms")]
    Milliseconds,
    /// Seconds.
    #[serde(rename = "s")]
    Seconds,
    /// How often in a second.
    #[serde(rename = "/s")]
    PerSecond,
    /// How often in a second of the time of a core.
    #[serde(rename = "/CPU-s")]
    PerCpuSecond,
    /// Parts in a hundred of the time of a core.
    #[serde(rename = "% CPU")]
    PercentOfCore,
    /// 1,000,000 bytes.
    #[serde(rename = "MB")]
    Megabytes,
    /// 1,000 bytes.
    #[serde(rename = "kB")]
    Kilobytes,
    /// How often.
    #[serde(rename = "times")]
    Times,
}

impl Unit {
    fn name(self) -> &'static str {
        match self {
            Self::Milliseconds => "ms",
            Self::Seconds => "s",
            Self::PerSecond => "/s",
            Self::PerCpuSecond => "/CPU-s",
            Self::PercentOfCore => "% CPU",
            Self::Megabytes => "MB",
            Self::Kilobytes => "kB",
            Self::Times => "times",
        }
    }
}

/// What a figure is compared with: measured in the same run.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Rival {
    /// What nothing could be better than.
    Limit,
    /// The server of an earlier commit.
    Baseline,
    /// The Go operator as its scaffold generates it.
    Go,
    /// The Go operator, tuned.
    TunedGo,
}

impl Rival {
    /// All of them, in the order of the table's columns.
    const ALL: [Self; 4] = [Self::Limit, Self::Baseline, Self::Go, Self::TunedGo];

    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::Limit => "limit",
            Self::Baseline => "baseline",
            Self::Go => "Go",
            Self::TunedGo => "tuned Go",
        }
    }
}

/// What a figure should be.
#[derive(Clone, Copy, Debug, PartialEq, Serialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Goal {
    /// At most so many times that of a rival.
    RatioAtMost(Rival, f64),
    /// At the lower end of its interval, at most so many times that of a rival.
    LowerEndAtMost(Rival, f64),
    /// At least so many times that of a rival.
    RatioAtLeast(Rival, f64),
    /// Less than this, in the unit of the row.
    Below(f64),
    /// At least this, in the unit of the row: a condition of the measurement.
    AtLeast(f64),
}

/// The figure of a rival.
#[derive(Clone, Copy, Debug, Serialize)]
struct Compared {
    rival: Rival,
    figure: f64,
    /// Ours, in figures of the rival.
    ratio: f64,
    /// The interval of that, where it was measured in rounds.
    #[serde(skip_serializing_if = "Option::is_none")]
    interval: Option<Interval>,
}

/// A goal, and whether it was met.
#[derive(Clone, Copy, Debug, Serialize)]
struct Judged {
    goal: Goal,
    met: bool,
}

/// The side of a bound on which a ratio should be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Side {
    AtMost,
    AtLeast,
}

/// Where a ratio should be, and whether it is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Target {
    pub(crate) side: Side,
    pub(crate) bound: f64,
    pub(crate) met: bool,
}

/// Ours, in figures of a rival.
#[derive(Clone, Debug)]
pub(crate) struct Comparison {
    pub(crate) rival: Rival,
    pub(crate) ratio: f64,
    pub(crate) interval: Option<Interval>,
    pub(crate) targets: Vec<Target>,
}

/// A figure, and how it compares.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Row {
    what: Cow<'static, str>,
    unit: Unit,
    ours: f64,
    rivals: Vec<Compared>,
    goals: Vec<Judged>,
}

impl Row {
    /// A figure without anything to compare it with.
    pub(crate) fn new(what: impl Into<Cow<'static, str>>, unit: Unit, ours: f64) -> Self {
        Self { what: what.into(), unit, ours, rivals: Vec::new(), goals: Vec::new() }
    }

    /// Compares it with that of a rival.
    #[must_use]
    pub(crate) fn beside(mut self, rival: Rival, figure: f64) -> Self {
        self.rivals.push(Compared { rival, figure, ratio: self.ours / figure, interval: None });
        self
    }

    /// Adds the interval of the ratio to a rival that it has been compared with.
    #[must_use]
    pub(crate) fn between(mut self, rival: Rival, interval: Interval) -> Self {
        for compared in self.rivals.iter_mut().filter(|compared| compared.rival == rival) {
            compared.interval = Some(interval);
        }
        self
    }

    /// Judges it, as it stands then.
    ///
    /// # Panics
    ///
    /// If it has not been compared with the rival that the goal names, or the goal is about an interval that is missing.
    #[must_use]
    pub(crate) fn judged_by(mut self, goal: Goal) -> Self {
        let met = match goal {
            Goal::RatioAtMost(rival, most) => self.ratio(rival) <= most,
            Goal::LowerEndAtMost(rival, most) => {
                let interval = self.compared(rival).and_then(|compared| compared.interval);
                interval.expect("a goal is set after the interval that it is about").low <= most
            }
            Goal::RatioAtLeast(rival, least) => self.ratio(rival) >= least,
            Goal::Below(bound) => self.ours < bound,
            Goal::AtLeast(bound) => self.ours >= bound,
        };
        self.goals.push(Judged { goal, met });
        self
    }

    /// Judges it by goals about the baseline, which not every run has.
    #[must_use]
    pub(crate) fn judged_beside_baseline(self, goals: impl IntoIterator<Item = Goal>) -> Self {
        match self.compared(Rival::Baseline) {
            Some(_) => goals.into_iter().fold(self, Self::judged_by),
            None => self,
        }
    }

    /// What it is about.
    pub(crate) fn what(&self) -> &str {
        &self.what
    }

    /// How it compares with each rival, in the order of the table.
    pub(crate) fn comparisons(&self) -> Vec<Comparison> {
        let compared = Rival::ALL.into_iter().filter_map(|rival| self.compared(rival));
        compared
            .map(|&Compared { rival, ratio, interval, .. }| Comparison {
                rival,
                ratio,
                interval,
                targets: self.targets(rival),
            })
            .collect()
    }

    fn targets(&self, rival: Rival) -> Vec<Target> {
        let target = |judged: &Judged| {
            let (about, side, bound) = match judged.goal {
                Goal::RatioAtMost(about, most) | Goal::LowerEndAtMost(about, most) => {
                    (about, Side::AtMost, most)
                }
                Goal::RatioAtLeast(about, least) => (about, Side::AtLeast, least),
                Goal::Below(_) | Goal::AtLeast(_) => return None,
            };
            (about == rival).then_some(Target { side, bound, met: judged.met })
        };
        self.goals.iter().filter_map(target).collect()
    }

    fn compared(&self, rival: Rival) -> Option<&Compared> {
        self.rivals.iter().find(|compared| compared.rival == rival)
    }

    fn ratio(&self, rival: Rival) -> f64 {
        self.compared(rival).expect("a goal is set after the comparison that it is about").ratio
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(ours: f64) -> Row {
        Row::new("w", Unit::Milliseconds, ours)
    }

    /// Beside a limit of 2.0.
    fn between(ours: f64, low: f64, high: f64) -> Row {
        let interval = Interval { low: low / 2.0, high: high / 2.0 };
        row(ours).beside(Rival::Limit, 2.0).between(Rival::Limit, interval)
    }

    #[test]
    fn a_goal_is_met_or_not() {
        let cases = [
            (row(3.0).beside(Rival::Limit, 2.0), Goal::RatioAtMost(Rival::Limit, 1.5), true),
            (row(3.1).beside(Rival::Limit, 2.0), Goal::RatioAtMost(Rival::Limit, 1.5), false),
            (row(3.0).beside(Rival::Go, 2.0), Goal::RatioAtLeast(Rival::Go, 1.5), true),
            (row(2.9).beside(Rival::Go, 2.0), Goal::RatioAtLeast(Rival::Go, 1.5), false),
            (between(3.0, 2.9, 3.2), Goal::LowerEndAtMost(Rival::Limit, 1.5), true),
            (between(3.0, 3.1, 3.2), Goal::LowerEndAtMost(Rival::Limit, 1.5), false),
            (row(3.0), Goal::Below(3.0), false),
            (row(2.9), Goal::Below(3.0), true),
            (row(3.0), Goal::AtLeast(3.0), true),
            (row(2.9), Goal::AtLeast(3.0), false),
        ];
        for (row, goal, expected) in cases {
            let judged = row.clone().judged_by(goal).goals;
            assert_eq!(
                judged.iter().map(|judged| judged.met).collect::<Vec<_>>(),
                [expected],
                "{row:?}, {goal:?}"
            );
        }
    }
}
