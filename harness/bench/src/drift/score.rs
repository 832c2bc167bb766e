//! What was measured of the players, and what is said of it.

use serde_json::{Value, json};

use super::Plan;
use crate::contestant::{Contestant, Scores};
use crate::latencies::Latencies;
use crate::table::{Goal, Rival, Row, Unit};

/// How long the drifts of one player lived, on a quiet cluster and among the events of others, round by round.
type Score = [Latencies; 2];

/// The scores of all.
#[derive(Debug)]
pub(super) struct Board {
    limit: Score,
    scores: Scores<Score>,
    /// How many events of others there really were.
    events_per_second: f64,
}

/// The two kinds of rounds, and their place in a score.
const KINDS: [(&str, usize); 2] = [("seen to repaired", 0), ("among 200 events/s", 1)];

/// The percentiles, and the most that they may be in those of the limit and of the tuned Go operator.
const GOALS: [(usize, f64, f64); 2] = [(50, 1.15, 1.0), (99, 1.5, 0.8)];

impl Board {
    /// Of what was measured, of both kinds: that of the limit, and then of each contestant.
    pub(super) fn new(
        contestants: &[Contestant],
        measured: [Vec<Latencies>; 2],
        events_per_second: f64,
    ) -> Self {
        let [quiet, among_events] = measured;
        let mut all = quiet.into_iter().zip(among_events).map(|(quiet, among_events)| [quiet, among_events]);
        let limit = all.next().unwrap_or_default();
        let mut scores = Scores::of(contestants, Score::default);
        scores.iter_mut().zip(all).for_each(|(score, measured)| *score = measured);
        Self { limit, scores, events_per_second }
    }

    /// The rows of the table.
    pub(super) fn rows(&self) -> Vec<Row> {
        KINDS.into_iter().flat_map(|kind| GOALS.map(|goals| self.row(kind, goals))).collect()
    }

    fn row(&self, (kind, place): (&str, usize), (percent, most_limit, most_tuned): (usize, f64, f64)) -> Row {
        let figure = |score: &Score| score[place].percentile_ms(percent);
        let what = format!("drift: {kind}, p{percent}");
        let ours = &self.scores.ours()[place];
        let row = self.scores.row(what, Unit::Milliseconds, figure).beside(Rival::Limit, figure(&self.limit));
        let rivals = self.scores.rivals().chain([(Rival::Limit, &self.limit)]);
        let row = rivals
            .fold(row, |row, (rival, score)| row.between(rival, ours.ratio_interval(&score[place], percent)));
        row.judged_by(Goal::RatioAtMost(Rival::Limit, most_limit))
            .judged_by(Goal::RatioAtMost(Rival::TunedGo, most_tuned))
    }

    /// Every sample.
    pub(super) fn details(&self, plan: &Plan) -> Value {
        let latencies = |latencies: &Latencies| {
            json!({
                "p50_ms": latencies.percentile_ms(50),
                "p90_ms": latencies.percentile_ms(90),
                "p99_ms": latencies.percentile_ms(99),
                "max_ms": latencies.percentile_ms(100),
                "rounds_ms": latencies.to_ms(),
            })
        };
        let both = |[quiet, among_events]: &Score| json!({ "quiet": latencies(quiet), "among_events": latencies(among_events) });
        json!({
            "deployments_each": plan.managed,
            "unmanaged_each": plan.unmanaged,
            "rounds": plan.rounds,
            "events_per_second": self.events_per_second,
            "limit": both(&self.limit),
            "contestants": self.scores.details(both),
        })
    }
}
