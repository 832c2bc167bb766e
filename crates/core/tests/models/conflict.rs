//! Compares the budget of immediate repairs, and the delays after it, with a token bucket.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use replica_count_core::conflict::{BUDGET, DELAYS, Damping, QUIET, Quiet, REFILL};

use crate::ms;

#[derive(Clone, Copy, Debug)]
enum Step {
    Conflict { jitter: f64 },
    Drift,
    Quiet,
    Wait(Duration),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0.0..1.0).prop_map(|jitter| Step::Conflict { jitter }),
        1 => Just(Step::Drift),
        1 => Just(Step::Quiet),
        3 => (0..30_000u64).prop_map(|wait| Step::Wait(ms(wait))),
        1 => (0..900u64).prop_map(|wait| Step::Wait(Duration::from_secs(wait))),
    ]
}

/// Tokens as a duration: one token is `REFILL`.
#[derive(Debug)]
struct Model {
    tokens: Duration,
    /// How many repairs were delayed, and when drift was last seen.
    contested: Option<(u32, Duration)>,
}

impl Model {
    fn new(budget: u32) -> Self {
        Self { tokens: REFILL * budget, contested: None }
    }

    fn conflict(&mut self, now: Duration) {
        self.contested = match self.contested {
            Some((delays, _)) => Some((delays + 1, now)),
            None => {
                self.tokens -= REFILL;
                (self.tokens < REFILL).then_some((1, now))
            }
        };
    }
}

proptest! {
    #[test]
    fn behaves_like_a_token_bucket(
        budget in 1..=BUDGET,
        steps in prop::collection::vec(step(), 0..100),
    ) {
        let (start, mut now) = (Instant::now(), Duration::ZERO);
        let (mut damping, mut model) = (Damping::default(), Model::new(budget));
        for step in steps {
            match step {
                Step::Conflict { jitter } => {
                    damping.record_conflict(budget, start + now, jitter);
                    model.conflict(now);
                    if let Some((delays, _)) = model.contested {
                        let wait = damping.contested().unwrap().next_repair - (start + now);
                        let full = (DELAYS.base * 2u32.pow((delays - 1).min(20))).min(DELAYS.cap);
                        prop_assert!(full / 2 <= wait && wait <= full, "{wait:?} of {full:?}");
                    }
                }
                Step::Drift => {
                    damping.record_drift(start + now);
                    if let Some((_, last)) = &mut model.contested {
                        *last = now;
                    }
                }
                Step::Quiet => {
                    let quiet = match model.contested {
                        None => Quiet::NotContested,
                        Some((_, last)) if now < last + QUIET => Quiet::EndsAt(start + last + QUIET),
                        Some(_) => {
                            model = Model::new(budget);
                            Quiet::Ended
                        }
                    };
                    prop_assert_eq!(damping.record_quiet(start + now), quiet);
                }
                Step::Wait(wait) => {
                    now += wait;
                    model.tokens = (model.tokens + wait).min(REFILL * budget);
                }
            }
            prop_assert_eq!(damping.contested().is_some(), model.contested.is_some());
        }
    }

    /// For any pauses of the opponent and any jitter.
    #[test]
    fn no_fight_costs_more_than_sixteen_writes_in_its_first_minute(
        pauses in prop::collection::vec((0..10_000u64, 0.0..1.0), 64),
    ) {
        let (start, minute) = (Instant::now(), Duration::from_mins(1));
        let (mut damping, mut now, mut writes) = (Damping::default(), start, 0);
        for (pause, jitter) in pauses {
            damping.record_conflict(BUDGET, now, jitter);
            writes += u32::from(now < start + minute);
            now += ms(pause);
            now = damping.contested().map_or(now, |contested| now.max(contested.next_repair));
        }
        prop_assert!(writes <= 16, "{writes}");
    }
}
