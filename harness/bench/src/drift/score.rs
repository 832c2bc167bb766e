//! What was measured of the contestants, and what is said of it.

use serde_json::{Value, json};

use super::Plan;
use crate::contestant::{Contestant, Scores};
use crate::latencies::Latencies;
use crate::table::{Goal, Rival, Row, Unit};

/// What was measured of one contestant in one kind of rounds.
#[derive(Clone, Debug, Default)]
pub(super) struct Score {
    all: Latencies,
    block_p50_ms: Vec<f64>,
    /// How many events of others there really were, in each block.
    pub(super) events_per_second: Vec<f64>,
}

impl Score {
    pub(super) fn add(&mut self, block: &Latencies) {
        self.all.extend(block);
        self.block_p50_ms.push(block.percentile_ms(50));
    }

    fn details(&self) -> Value {
        json!({
            "p50_ms": self.all.percentile_ms(50),
            "p90_ms": self.all.percentile_ms(90),
            "p99_ms": self.all.percentile_ms(99),
            "max_ms": self.all.percentile_ms(100),
            "block_p50_ms": self.block_p50_ms,
            "events_per_second": self.events_per_second,
            "rounds_ms": self.all.to_ms(),
        })
    }
}

/// The scores of all, each on a quiet cluster and among the events of others.
#[derive(Debug)]
pub(super) struct Board {
    pub(super) limit: [Score; 2],
    pub(super) scores: Scores<[Score; 2]>,
}

/// The two kinds of rounds, and their place in a pair of scores.
const KINDS: [(&str, usize); 2] = [("seen to repaired", 0), ("among 200 events/s", 1)];

/// The percentiles, and the most that they may be in those of the limit and of the tuned Go operator.
const GOALS: [(usize, f64, f64); 2] = [(50, 1.15, 1.0), (99, 1.5, 0.8)];

impl Board {
    /// Nothing was measured yet.
    pub(super) fn of(contestants: &[Contestant]) -> Self {
        Self { limit: Default::default(), scores: Scores::of(contestants, Default::default) }
    }

    /// The rows of the table.
    pub(super) fn rows(&self) -> Vec<Row> {
        let mut rows = Vec::new();
        for (kind, place) in KINDS {
            for (percent, most_limit, most_tuned) in GOALS {
                let figure = |scores: &[Score; 2]| scores[place].all.percentile_ms(percent);
                let row = self.scores.row(format!("drift: {kind}, p{percent}"), Unit::Milliseconds, figure);
                let row = row
                    .beside(Rival::Limit, figure(&self.limit))
                    .judged_by(Goal::RatioAtMost(Rival::Limit, most_limit))
                    .judged_by(Goal::RatioAtMost(Rival::TunedGo, most_tuned));
                rows.push(row);
            }
        }
        rows
    }

    /// Every sample.
    pub(super) fn details(&self, plan: &Plan) -> Value {
        let both = |[quiet, among_events]: &[Score; 2]| json!({ "quiet": quiet.details(), "among_events": among_events.details() });
        json!({
            "deployments": plan.deployments,
            "rounds_each": plan.rounds,
            "rounds_a_block": plan.block,
            "limit": both(&self.limit),
            "contestants": self.scores.details(both),
        })
    }
}
