//! Compares the budget of immediate repairs, and the delays after it, with a token bucket.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use replica_count_core::damping::{BUDGET, DELAYS, Damping, QUIET, Quiet};

use crate::budget::Budget;
use crate::ms;

#[derive(Clone, Copy, Debug)]
enum Step {
    Conflict { jitter: f64 },
    Drift,
    Quiet,
    EndAutoscaling,
    Wait(Duration),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        8 => (0.0..1.0).prop_map(|jitter| Step::Conflict { jitter }),
        2 => Just(Step::Drift),
        2 => Just(Step::Quiet),
        1 => Just(Step::EndAutoscaling),
        6 => (0..30_000u64).prop_map(|wait| Step::Wait(ms(wait))),
        2 => (0..900u64).prop_map(|wait| Step::Wait(Duration::from_secs(wait))),
    ]
}

#[derive(Debug)]
struct Model {
    budget: Budget,
    /// How many repairs were delayed, and when drift was last seen.
    contested: Option<(u32, Instant)>,
}

impl Model {
    fn new(now: Instant) -> Self {
        Self { budget: Budget::new(now), contested: None }
    }

    fn conflict(&mut self, size: u32, now: Instant) {
        self.budget.take(now);
        self.contested = match self.contested {
            Some((delays, _)) => Some((delays + 1, now)),
            None => (!self.budget.has_left(1, size, now)).then_some((1, now)),
        };
    }
}

proptest! {
    #[test]
    fn behaves_like_a_token_bucket(
        size in 1..=BUDGET,
        steps in prop::collection::vec(step(), 0..200),
    ) {
        let mut now = Instant::now();
        let (mut damping, mut model) = (Damping::default(), Model::new(now));
        for step in steps {
            match step {
                Step::Conflict { jitter } => {
                    damping.record_conflict(size, now, jitter);
                    model.conflict(size, now);
                    if let Some((delays, _)) = model.contested {
                        let wait = damping.contested().unwrap().next_repair - now;
                        let full = (DELAYS.base * 2u32.pow((delays - 1).min(20))).min(DELAYS.cap);
                        prop_assert!(full / 2 <= wait && wait <= full, "{wait:?} of {full:?}");
                    }
                }
                Step::Drift => {
                    damping.record_drift(now);
                    if let Some((_, last)) = &mut model.contested {
                        *last = now;
                    }
                }
                Step::Quiet => {
                    let quiet = match model.contested {
                        None => Quiet::None,
                        Some((_, last)) if now < last + QUIET => Quiet::EndsAt(last + QUIET),
                        Some(_) => {
                            model = Model::new(now);
                            Quiet::Ended
                        }
                    };
                    prop_assert_eq!(damping.record_quiet(now), quiet);
                }
                Step::EndAutoscaling => {
                    damping.end_autoscaling(now);
                    model.contested.take_if(|_| model.budget.has_left(1, BUDGET, now));
                }
                Step::Wait(wait) => now += wait,
            }
            prop_assert_eq!(damping.contested().is_some(), model.contested.is_some());
        }
    }

    /// For any pauses of the opponent, any jitter, and an autoscaler that comes and goes.
    #[test]
    fn no_fight_costs_more_than_sixteen_writes_in_any_minute(
        rounds in prop::collection::vec((0..10_000u64, 0.0..1.0, prop::option::of(any::<bool>())), 64),
    ) {
        let mut now = Instant::now();
        let (mut damping, mut writes, mut budget) = (Damping::default(), Vec::new(), BUDGET);
        for (pause, jitter, autoscaler) in rounds {
            match autoscaler {
                Some(true) => budget = 1,
                Some(false) => {
                    budget = BUDGET;
                    damping.end_autoscaling(now);
                }
                None => {}
            }
            now = damping.contested().map_or(now, |contested| now.max(contested.next_repair));
            damping.record_conflict(budget, now, jitter);
            writes.push(now);
            let in_a_minute = writes.iter().filter(|at| **at + Duration::from_mins(1) > now).count();
            prop_assert!(in_a_minute <= 16, "{in_a_minute}");
            now += ms(pause);
        }
    }
}
