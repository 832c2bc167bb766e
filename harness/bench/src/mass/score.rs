//! The results of the contestants, and their presentation.

use std::collections::BTreeMap;
use std::time::Duration;

use serde_json::{Value, json};

use super::{BESIDE_BYSTANDER, Plan};
use crate::contestant::{Contestant, Scores};
use crate::latencies::Latencies;
use crate::table::{Goal, Rival, Row, Unit};

/// One pass over the Deployments.
#[derive(Clone, Debug)]
pub(super) struct Pass {
    pub(super) changes: usize,
    /// From the start of the process to the first change.
    pub(super) to_first: Duration,
    /// From the first change to the last one.
    pub(super) took: Duration,
    /// The bystander's latencies during the pass.
    pub(super) bystander: Latencies,
    /// The number of answers 429 to the server.
    pub(super) throttled: u32,
}

/// The passes of one contestant.
#[derive(Clone, Debug, Default)]
pub(super) struct Score(Vec<Pass>);

impl Score {
    pub(super) fn add(&mut self, pass: Pass) {
        self.0.push(pass);
    }

    /// Changes per second, from the first to the last of each pass.
    fn rate(&self) -> f64 {
        // The measured time begins with the first change, so that change does not count.
        let changes: usize = self.0.iter().map(|pass| pass.changes - 1).sum();
        let took: Duration = self.0.iter().map(|pass| pass.took).sum();
        f64::from(u32::try_from(changes).unwrap_or(u32::MAX)) / took.as_secs_f64()
    }

    /// The mean time from the start of the process to the last change, in seconds.
    fn to_last(&self) -> f64 {
        let all: Duration = self.0.iter().map(|pass| pass.to_first + pass.took).sum();
        all.as_secs_f64() / f64::from(u32::try_from(self.0.len()).unwrap_or(u32::MAX))
    }

    fn bystander_ms(&self, percent: usize) -> f64 {
        let mut all = Latencies::default();
        self.0.iter().for_each(|pass| all.extend(&pass.bystander));
        all.percentile_ms(percent)
    }

    fn throttled(&self) -> u32 {
        self.0.iter().map(|pass| pass.throttled).sum()
    }

    fn details(&self) -> Value {
        let pass = |pass: &Pass| {
            json!({
                "changes": pass.changes,
                "to_first_s": pass.to_first.as_secs_f64(),
                "first_to_last_s": pass.took.as_secs_f64(),
                "bystander_ms": pass.bystander.to_ms(),
            })
        };
        let passes: Vec<Value> = self.0.iter().map(pass).collect();
        json!({ "per_second": self.rate(), "start_to_last_s": self.to_last(), "passes": passes })
    }
}

/// The scores of all.
#[derive(Debug)]
pub(super) struct Board {
    /// The scores of bare PATCHes, by their concurrency.
    pub(super) limits: BTreeMap<usize, Score>,
    pub(super) scores: Scores<Score>,
}

impl Board {
    /// Nothing was measured yet.
    pub(super) fn of(contestants: &[Contestant]) -> Self {
        Self { limits: BTreeMap::new(), scores: Scores::of(contestants, Score::default) }
    }

    /// The rows of the table.
    pub(super) fn rows(&self) -> Vec<Row> {
        let best = self.limits.values().map(Score::rate).fold(0.0, f64::max);
        let bystander = |percent| {
            let what = format!("mass: a bystander's GET, p{percent}");
            let row = self.scores.row(what, Unit::Milliseconds, |score| score.bystander_ms(percent));
            row.beside(Rival::Limit, self.limits[&BESIDE_BYSTANDER].bystander_ms(percent))
        };
        let throttled = f64::from(self.scores.ours().throttled());
        vec![
            self.scores
                .row("mass: repairs", Unit::PerSecond, Score::rate)
                .beside(Rival::Limit, best)
                .judged_by(Goal::RatioAtLeast(Rival::Limit, 0.75)),
            bystander(50),
            bystander(99).judged_by(Goal::RatioAtMost(Rival::Limit, 1.2)),
            Row::new("mass: answers 429", Unit::Times, throttled).judged_by(Goal::Below(1.0)),
        ]
    }

    /// Every pass.
    pub(super) fn details(&self, plan: &Plan) -> Value {
        let limits: BTreeMap<usize, Value> =
            self.limits.iter().map(|(concurrency, score)| (*concurrency, score.details())).collect();
        json!({
            "deployments": plan.deployments,
            "deployments_of_a_sample": plan.sample,
            "limit_by_concurrency": limits,
            "contestants": self.scores.details(Score::details),
        })
    }
}
