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

/// The goals beside the baseline, by percentile. A server beside itself has p99 ratios from 0.6x to 1.3x, so only the
/// lower end of that interval says something.
fn goals_beside_baseline(percent: usize) -> impl IntoIterator<Item = Goal> {
    let middle = (percent == 50).then_some(Goal::RatioAtMost(Rival::Baseline, 1.05));
    middle.into_iter().chain([Goal::LowerEndAtMost(Rival::Baseline, 1.03)])
}

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
            .judged_beside_baseline(goals_beside_baseline(percent))
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

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    /// The rows of a run in which each round of the limit took one millisecond, and each of the contestants so many
    /// microseconds.
    fn rows(baseline: bool, took: &[u64]) -> Value {
        let contestants = Contestant::all(baseline.then(|| "program".into()));
        assert_eq!(contestants.len(), took.len());
        let latencies = |took: &u64| {
            let mut latencies = Latencies::default();
            (0..100).for_each(|_| latencies.push(Duration::from_micros(*took)));
            latencies
        };
        let measured = || [1_000].iter().chain(took).map(latencies).collect::<Vec<_>>();
        json!(Board::new(&contestants, [measured(), measured()], 200.0).rows())
    }

    /// Whether the goals of each row about the baseline are met.
    fn met(rows: &Value) -> Vec<bool> {
        let goals =
            rows.as_array().expect("rows").iter().flat_map(|row| row["goals"].as_array().expect("goals"));
        let about_baseline = goals.filter(|judged| judged["goal"].to_string().contains("baseline"));
        about_baseline.map(|judged| judged["met"] == true).collect()
    }

    #[test]
    fn each_is_compared_with_ours_and_the_baseline_has_its_goals() {
        let faster = rows(true, &[1_020, 1_000, 2_000, 3_000]);
        assert_eq!(met(&faster), [true; 6], "{faster}");
        let slower = rows(true, &[1_060, 1_000, 2_000, 3_000]);
        assert_eq!(met(&slower), [false; 6], "{slower}");
        for row in faster.as_array().expect("rows") {
            let ratio = |rival: &str| {
                let rivals = row["rivals"].as_array().expect("rivals");
                let compared = rivals.iter().find(|compared| compared["rival"] == rival).expect("a rival");
                for end in ["low", "high"] {
                    assert_eq!(compared["interval"][end], compared["ratio"], "{compared}");
                }
                compared["ratio"].as_f64().expect("a ratio")
            };
            let expected = [("limit", 1.02), ("baseline", 1.02), ("go", 0.51), ("tuned_go", 0.34)];
            for (rival, expected) in expected {
                assert!((ratio(rival) - expected).abs() < 1e-9, "{rival}: {row}");
            }
        }
    }

    #[test]
    fn without_a_baseline_nothing_is_said_of_it() {
        let rows = rows(false, &[1_020, 2_000, 3_000]);
        assert!(!rows.to_string().contains("baseline"), "{rows}");
    }
}
