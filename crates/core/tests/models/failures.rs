//! Compares the back-off after failures with a plain list of failures.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use replica_count_core::conflict::{Basis, View};
use replica_count_core::failures::{BACKOFF, Failure, Failures, STALE_IN_A_ROW};
use replica_count_core::record::Record;
use replica_count_core::replicas::Replicas;

pub(crate) fn failure() -> impl Strategy<Value = Failure> {
    prop::sample::select(Failure::ALL.to_vec())
}

#[derive(Clone, Debug)]
enum Step {
    Fail { uid: &'static str, failure: Failure, retry_after_s: u64, jitter: f64 },
    InEffect,
    Missing,
    Set,
    Reconnect,
}

fn step() -> impl Strategy<Value = Step> {
    let uid = prop::sample::select(vec!["a", "b"]);
    let retry_after = prop_oneof![Just(0), 0..20u64];
    let fail = (uid, failure(), retry_after, 0.0..1.0).prop_map(|(uid, failure, retry_after, jitter)| {
        let retry_after_s = if failure == Failure::Throttled { retry_after } else { 0 };
        Step::Fail { uid, failure, retry_after_s, jitter }
    });
    let other = vec![Step::InEffect, Step::Missing, Step::Set, Step::Reconnect];
    prop_oneof![2 => fail, 1 => prop::sample::select(other)]
}

/// The failures since they were last cleared.
type Model = Vec<(&'static str, Failure)>;

/// How many failures at the end of the list count as consecutive (throttling applies to every object), and how many of
/// those have the reason of the last one.
fn consecutive(model: &Model) -> (usize, usize) {
    let mut in_a_row = 0;
    for pair in model.windows(2) {
        let continues = pair[0].0 == pair[1].0 || pair[0].1 == Failure::Throttled;
        in_a_row = if continues { in_a_row + 1 } else { 0 };
    }
    let same_reason =
        model.iter().rev().take(in_a_row + 1).take_while(|(_, failure)| *failure == model[model.len() - 1].1);
    (in_a_row + 1, same_reason.count())
}

proptest! {
    #[test]
    fn behave_like_a_list_of_failures(steps in prop::collection::vec(step(), 0..64)) {
        let now = Instant::now();
        let desired = Replicas::new(1).unwrap();
        let (mut record, mut model) = (Record::default(), Model::new());
        for step in steps {
            match step {
                Step::Fail { uid, failure, retry_after_s, jitter } => {
                    let retry_after = Duration::from_secs(retry_after_s);
                    let view = View { uid: uid.into(), replicas: desired };
                    let after =
                        record.record_failure(view, Basis::Count, failure, retry_after, now, jitter).clone();
                    model.push((uid, failure));
                    let (in_a_row, same_reason) = consecutive(&model);
                    prop_assert_eq!((after.in_a_row as usize, after.same_reason as usize), (in_a_row, same_reason));
                    check_wait(&after, retry_after, now)?;
                }
                Step::InEffect => {
                    // Still within any Retry-After.
                    record.record_in_effect(desired, now, 0.0);
                    if model.last().is_some_and(|(_, failure)| *failure != Failure::Throttled) {
                        model.clear();
                    }
                }
                Step::Missing => {
                    record.record_missing();
                    if model.last().is_some_and(|(_, failure)| *failure != Failure::Throttled) {
                        model.clear();
                    }
                }
                Step::Set => {
                    record.record_setting(desired);
                    if model.last().is_some_and(|(_, failure)| *failure != Failure::Throttled) {
                        model.clear();
                    }
                }
                Step::Reconnect => {
                    let is_outage = |(_, failure): &(_, Failure)| {
                        use Failure::{Deadline, Stale, Unauthorized, Unreachable};
                        matches!(failure, Stale | Unauthorized | Unreachable | Deadline)
                    };
                    let is_fixed = model.last().is_some_and(is_outage);
                    prop_assert_eq!(record.record_reconnect(), is_fixed);
                    if is_fixed {
                        model.clear();
                    }
                }
            }
            prop_assert_eq!(record.failures.is_some(), !model.is_empty());
        }
    }
}

fn check_wait(after: &Failures, retry_after: Duration, now: Instant) -> Result<(), TestCaseError> {
    let full = (BACKOFF.base * 2u32.pow((after.in_a_row - 1).min(20))).min(BACKOFF.cap);
    let wait = after.due - now;
    let delay = wait.saturating_sub(retry_after);
    prop_assert!(full / 2 <= delay && delay <= full, "{wait:?} of {full:?} after {retry_after:?}");
    let may_retry_at_once = after.last == Failure::Stale && after.same_reason < STALE_IN_A_ROW;
    prop_assert_eq!(after.retry_at, (!may_retry_at_once).then_some(after.due));
    Ok(())
}
