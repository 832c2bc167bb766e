//! The budget of immediate repairs and the delays after it, against a bucket of tokens that is counted out.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use replica_count_core::backoff::Moment;
use replica_count_core::damping::{BUDGET, DELAYS, Damping, QUIET, REFILL, Truce};

use crate::ms;

#[derive(Clone, Copy, Debug)]
enum Step {
    Bout { jitter: f64 },
    Drift,
    Quiet,
    Wait(Duration),
}

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0.0..1.0).prop_map(|jitter| Step::Bout { jitter }),
        1 => Just(Step::Drift),
        1 => Just(Step::Quiet),
        3 => (0..30_000u64).prop_map(|wait| Step::Wait(ms(wait))),
        1 => (0..900u64).prop_map(|wait| Step::Wait(Duration::from_secs(wait))),
    ]
}

/// Tokens by the millisecond: one is `REFILL` long.
#[derive(Debug)]
struct Model {
    tokens: Duration,
    /// How often a repair was delayed, and when drift was seen last.
    contest: Option<(u32, Duration)>,
}

impl Model {
    fn new(budget: u32) -> Self {
        Self { tokens: REFILL * budget, contest: None }
    }

    fn bout(&mut self, now: Duration) {
        self.contest = match self.contest {
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
    fn behaves_like_a_bucket_of_tokens(
        budget in 1..=BUDGET,
        steps in prop::collection::vec(step(), 0..100),
    ) {
        let (start, mut now) = (Instant::now(), Duration::ZERO);
        let (mut damping, mut model) = (Damping::default(), Model::new(budget));
        for step in steps {
            match step {
                Step::Bout { jitter } => {
                    damping.record_bout(budget, Moment { at: start + now, jitter });
                    model.bout(now);
                    if let Some((delays, _)) = model.contest {
                        let wait = damping.contest().unwrap().next_repair - (start + now);
                        let full = (DELAYS.base * 2u32.pow((delays - 1).min(20))).min(DELAYS.cap);
                        prop_assert!(full / 2 <= wait && wait <= full, "{wait:?} of {full:?}");
                    }
                }
                Step::Drift => {
                    damping.record_drift(start + now);
                    if let Some((_, last)) = &mut model.contest {
                        *last = now;
                    }
                }
                Step::Quiet => {
                    let truce = match model.contest {
                        None => Truce::Calm,
                        Some((_, last)) if now < last + QUIET => Truce::Until(start + last + QUIET),
                        Some(_) => {
                            model = Model::new(budget);
                            Truce::Peace
                        }
                    };
                    prop_assert_eq!(damping.record_quiet(start + now), truce);
                }
                Step::Wait(wait) => {
                    now += wait;
                    model.tokens = (model.tokens + wait).min(REFILL * budget);
                }
            }
            prop_assert_eq!(damping.contest().is_some(), model.contest.is_some());
        }
    }

    /// Whatever the pauses of the opponent, and however lucky it is with the jitter.
    #[test]
    fn no_fight_costs_more_than_sixteen_writes_in_its_first_minute(
        pauses in prop::collection::vec((0..10_000u64, 0.0..1.0), 64),
    ) {
        let (start, minute) = (Instant::now(), Duration::from_mins(1));
        let (mut damping, mut now, mut writes) = (Damping::default(), start, 0);
        for (pause, jitter) in pauses {
            damping.record_bout(BUDGET, Moment { at: now, jitter });
            writes += u32::from(now < start + minute);
            now += ms(pause);
            now = damping.contest().map_or(now, |contest| now.max(contest.next_repair));
        }
        prop_assert!(writes <= 16, "{writes}");
    }
}
