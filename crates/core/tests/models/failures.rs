//! The back-off after failures, against a plain list of all that failed.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use replica_count_core::failures::{BACKOFF, Failure, Failures, STALE_IN_A_ROW};
use replica_count_core::record::Record;
use replica_count_core::replicas::Replicas;

pub(crate) fn failure() -> impl Strategy<Value = Failure> {
    prop::sample::select(Failure::ALL.to_vec())
}

#[derive(Clone, Debug)]
enum Step {
    Fail { uid: &'static str, failure: Failure, asked_s: u64, jitter: f64 },
    InEffect,
    Set,
    Contact,
}

fn step() -> impl Strategy<Value = Step> {
    let uid = prop::sample::select(vec!["a", "b"]);
    let asked = prop_oneof![Just(0), 0..20u64];
    let fail = (uid, failure(), asked, 0.0..1.0).prop_map(|(uid, failure, asked, jitter)| {
        let asked_s = if failure == Failure::Throttled { asked } else { 0 };
        Step::Fail { uid, failure, asked_s, jitter }
    });
    prop_oneof![8 => fail, 1 => Just(Step::InEffect), 1 => Just(Step::Set), 1 => Just(Step::Contact)]
}

/// What failed since the last thing that made it forgotten.
type Model = Vec<(&'static str, Failure)>;

/// The row that ends the list: on one object, but for what the API server asked.
fn row(model: &Model) -> (usize, usize) {
    let mut in_a_row = 0;
    for pair in model.windows(2) {
        let goes_on = pair[0].0 == pair[1].0 || pair[0].1 == Failure::Throttled;
        in_a_row = if goes_on { in_a_row + 1 } else { 0 };
    }
    let alike =
        model.iter().rev().take(in_a_row + 1).take_while(|(_, failure)| *failure == model[model.len() - 1].1);
    (in_a_row + 1, alike.count())
}

proptest! {
    #[test]
    fn behave_like_a_list_of_what_failed(steps in prop::collection::vec(step(), 0..64)) {
        let now = Instant::now();
        let desired = Replicas::new(1).unwrap();
        let (mut record, mut model) = (Record::default(), Model::new());
        for step in steps {
            match step {
                Step::Fail { uid, failure, asked_s, jitter } => {
                    let asked = Duration::from_secs(asked_s);
                    let after = record.record_failure(&uid.into(), failure, asked, now, jitter).clone();
                    model.push((uid, failure));
                    let (in_a_row, alike) = row(&model);
                    prop_assert_eq!((after.in_a_row as usize, after.alike as usize), (in_a_row, alike));
                    check_wait(&after, asked, now)?;
                }
                Step::InEffect => {
                    // Still within any wish of the API server.
                    record.record_in_effect(desired, now, 0.0);
                    if model.last().is_some_and(|(_, failure)| *failure != Failure::Throttled) {
                        model.clear();
                    }
                }
                Step::Set => {
                    record.follow_setting(desired);
                    if model.last().is_some_and(|(_, failure)| *failure != Failure::Throttled) {
                        model.clear();
                    }
                }
                Step::Contact => {
                    let unreached = |(_, failure): &(_, Failure)| {
                        matches!(failure, Failure::Stale | Failure::Unreachable | Failure::Deadline)
                    };
                    let is_cured = model.last().is_some_and(unreached);
                    prop_assert_eq!(record.record_contact(), is_cured);
                    if is_cured {
                        model.clear();
                    }
                }
            }
            prop_assert_eq!(record.failures.is_some(), !model.is_empty());
        }
    }
}

fn check_wait(after: &Failures, asked: Duration, now: Instant) -> Result<(), TestCaseError> {
    let full = (BACKOFF.base * 2u32.pow((after.in_a_row - 1).min(20))).min(BACKOFF.cap);
    let wait = after.due - now;
    prop_assert!(asked + full / 2 <= wait && wait <= asked + full, "{wait:?} of {full:?} on {asked:?}");
    let is_free = after.last == Failure::Stale && after.alike < STALE_IN_A_ROW;
    prop_assert_eq!(after.retry_at, (!is_free).then_some(after.due));
    Ok(())
}
