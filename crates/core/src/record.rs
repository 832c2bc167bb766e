//! The record of one managed target: what happened to it since this process started.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::conflict::{BUDGET, BUDGET_OF_AUTOSCALED, ConflictState, Damping};
use crate::drift::Drift;
use crate::failures::{Failure, Failures, WRITE_DEADLINES};
use crate::own_writes::OwnWrites;
use crate::replicas::Replicas;
use crate::uid::Uid;

/// The longest of [`WRITE_DEADLINES`].
#[allow(clippy::cast_possible_truncation, reason = "there are few")]
const LAST_DEADLINE: u8 = WRITE_DEADLINES.len() as u8 - 1;

/// What happened to one managed target. Kept in memory only.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Record {
    /// Which desired count was last seen in the cluster. It distinguishes a drift from a setting that is not in effect
    /// yet.
    pub in_effect: InEffect,
    /// The current drift, which is not repaired yet.
    pub open_drift: Option<Drift>,
    /// The last drift, repaired or not.
    pub last_drift: Option<Drift>,
    /// How many drifts were seen.
    pub drift_count: u64,
    /// The failed attempts to repair since the last success.
    pub failures: Option<Failures>,
    /// How repairs are damped.
    pub damping: Damping,
    /// The autoscaler that targets the workload.
    pub autoscaler: Option<Arc<str>>,
    /// How many steps of [`WRITE_DEADLINES`] the next write gets beyond the first one.
    pub extra_time: u8,
    /// Whether the workload was missing at the last step.
    pub is_missing: bool,
    /// The writes of this process.
    pub own_writes: OwnWrites,
}

/// Which desired count was seen in the cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InEffect {
    /// None yet: the setting is new.
    #[default]
    NotYet,
    /// Not known, but perhaps this one: it was stored when the process started.
    Perhaps(Replicas),
    /// This one.
    Was(Replicas),
}

/// How a drift relates to those seen before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// It is the current one.
    Known,
    /// It is new.
    New {
        /// The current drift before it, which will not be repaired any more.
        replaced: Option<Drift>,
    },
}

impl Record {
    /// The record of a setting that was stored when the process started.
    pub fn of_stored_setting(desired: Replicas) -> Self {
        Self { in_effect: InEffect::Perhaps(desired), ..Self::default() }
    }

    /// Records a drift.
    pub fn record_drift(&mut self, drift: &Drift, now: Instant) -> Sighting {
        self.damping.record_drift(now);
        if self.open_drift.as_ref().is_some_and(|open| open.is_same_as(drift)) {
            return Sighting::Known;
        }
        self.last_drift = Some(drift.clone());
        self.drift_count += 1;
        Sighting::New { replaced: self.open_drift.replace(drift.clone()) }
    }

    /// Records that the workload does not exist; returns true if it did at the last step. A setting that was not seen
    /// in effect so far was never in effect.
    pub fn record_missing(&mut self) -> bool {
        match self.in_effect {
            InEffect::NotYet | InEffect::Perhaps(_) => self.in_effect = InEffect::NotYet,
            InEffect::Was(_) => {}
        }
        !std::mem::replace(&mut self.is_missing, true)
    }

    /// Records that an acknowledged write of ours repaired a drift.
    pub fn record_repaired(&mut self, desired: Replicas, now: Instant, jitter: f64) {
        self.record_conflict(now, jitter);
        self.end_drift(desired);
    }

    /// Records that a new setting was put into effect; returns the drift that ended with it.
    pub fn record_applied(&mut self, desired: Replicas) -> Option<Drift> {
        self.end_drift(desired)
    }

    /// Records that the cluster has the desired count; returns the drift that ended with it.
    ///
    /// If we tried to repair it, an unacknowledged write of ours may have done so, unless the API server throttled it.
    pub fn record_in_effect(&mut self, desired: Replicas, now: Instant, jitter: f64) -> Option<Drift> {
        let may_have_written =
            self.failures.as_ref().is_some_and(|failures| failures.last != Failure::Throttled);
        if self.open_drift.is_some() && may_have_written {
            self.record_conflict(now, jitter);
        }
        // Throttling also holds for the next drift.
        let throttled =
            self.failures.take_if(|failures| failures.last == Failure::Throttled && failures.due > now);
        let ended = self.end_drift(desired);
        self.failures = throttled;
        ended
    }

    fn end_drift(&mut self, desired: Replicas) -> Option<Drift> {
        self.in_effect = InEffect::Was(desired);
        self.failures = None;
        self.open_drift.take()
    }

    /// Records a failed attempt on the object `uid`; returns all consecutive failures.
    ///
    /// `retry_after` is how long the API server asked to wait.
    pub fn record_failure(
        &mut self,
        uid: &Uid,
        failure: Failure,
        retry_after: Duration,
        now: Instant,
        jitter: f64,
    ) -> &mut Failures {
        if failure == Failure::Stale {
            self.record_conflict(now, jitter);
        }
        if failure.is_lack_of_time() {
            self.extra_time = (self.extra_time + 1).min(LAST_DEADLINE);
        }
        let before = self.failures.take();
        self.failures.insert(Failures::after(before, uid, failure, retry_after, now, jitter))
    }

    fn record_conflict(&mut self, now: Instant, jitter: f64) {
        let budget = if self.autoscaler.is_some() { BUDGET_OF_AUTOSCALED } else { BUDGET };
        self.damping.record_conflict(budget, now, jitter);
    }

    /// Records which autoscaler targets the workload; returns true if that changed. Without an autoscaler there is no
    /// opponent, so the target is no longer contested.
    pub fn record_autoscaler(&mut self, autoscaler: Option<&Arc<str>>) -> bool {
        if self.autoscaler.as_ref() == autoscaler {
            return false;
        }
        self.autoscaler = autoscaler.cloned();
        if autoscaler.is_none() {
            self.damping = Damping::default();
        }
        true
    }

    /// The earliest time of the next attempt on the object `uid`, if it has to wait.
    ///
    /// A re-created workload does not wait because of the failures of the one before. It does wait because of a
    /// conflict: the opponent may be the one who re-creates it.
    pub fn retry_at(&self, uid: &Uid) -> Option<Instant> {
        let failures = self.failures.as_ref().filter(|failures| failures.apply_to(uid));
        let after_failures = failures.and_then(|failures| failures.retry_at);
        after_failures.max(self.damping.contested().map(|contested| contested.next_repair))
    }

    /// How long the next write may take.
    pub fn write_deadline(&self) -> Duration {
        WRITE_DEADLINES[usize::from(self.extra_time)]
    }

    /// Records how long a write took that was answered. A fast one needs no extra time any more.
    pub fn record_write_time(&mut self, took: Duration) {
        if took < WRITE_DEADLINES[0] / 2 {
            self.extra_time = 0;
        }
    }

    /// The count that admission stored instead of the desired one, in the last attempt on the object `uid`.
    pub fn altered_to(&self, uid: &Uid) -> Option<Replicas> {
        self.failures.as_ref().filter(|failures| failures.uid == *uid)?.altered_to
    }

    /// Who else changes the count.
    pub fn conflict_state(&self) -> ConflictState {
        match (&self.autoscaler, &self.damping) {
            (Some(_), _) => ConflictState::Autoscaled,
            (None, Damping::Contested(_)) => ConflictState::Contested,
            (None, Damping::Calm { .. }) => ConflictState::None,
        }
    }

    /// Records a change of the setting, whose desired count is now `desired`.
    ///
    /// Clears failures other than throttling. Another count ends a conflict; the same count again only skips the
    /// current delay.
    pub fn record_setting(&mut self, desired: Replicas) {
        self.failures.take_if(|failures| failures.clear_on_new_setting());
        let is_confirmed = match self.in_effect {
            InEffect::NotYet => false,
            InEffect::Perhaps(before) | InEffect::Was(before) => before == desired,
        };
        if is_confirmed {
            self.damping.skip_delay();
        } else {
            self.damping = Damping::default();
        }
    }

    /// Records that the API server is reachable and the observed state is current again. Clears failures caused by the
    /// outage; returns true if there were any.
    pub fn record_reconnect(&mut self) -> bool {
        self.failures.take_if(|failures| failures.clear_on_reconnect()).is_some()
    }
}

#[cfg(test)]
mod tests {
    use jiff::Timestamp;

    use super::*;
    use crate::managed_fields::{FieldOwner, Operation, Writer};

    fn drift(uid: &str, to: i32, second: i64) -> Drift {
        let count = |n| Replicas::new(n).expect("valid");
        let at = Timestamp::from_second(second).expect("in range");
        Drift { uid: uid.into(), by: None, at, from: count(1), to: count(to) }
    }

    #[test]
    fn one_drift_is_counted_once() {
        let (mut record, now) = (Record::default(), Instant::now());
        let new = |replaced| Sighting::New { replaced };
        assert_eq!(record.record_drift(&drift("a", 2, 0), now), new(None));
        assert_eq!(record.record_drift(&drift("a", 2, 1), now), Sighting::Known, "seen again");
        assert_eq!(record.record_drift(&drift("a", 3, 2), now), new(Some(drift("a", 2, 0))), "another count");
        assert_eq!(
            record.record_drift(&drift("b", 3, 3), now),
            new(Some(drift("a", 3, 2))),
            "another object"
        );
        let desired = one();
        assert_eq!(record.record_in_effect(desired, Instant::now(), 1.0), Some(drift("b", 3, 3)));
        assert_eq!(record.record_in_effect(desired, Instant::now(), 1.0), None, "there was no drift");
        assert_eq!(record.record_drift(&drift("b", 3, 4), now), new(None), "again after a repair");
        assert_eq!((record.drift_count, record.last_drift), (4, Some(drift("b", 3, 4))));
    }

    #[test]
    fn another_write_of_the_same_manager_is_not_a_new_drift() {
        let by = |manager: &str, second| {
            let writer = Writer { manager: manager.into(), operation: Operation::Update, subresource: None };
            FieldOwner {
                writer: Arc::new(writer),
                time: Some(Timestamp::from_second(second).expect("in range")),
            }
        };
        let drift = |manager, second| Drift { by: Some(by(manager, second)), ..drift("a", 2, second) };
        let (mut record, now) = (Record::default(), Instant::now());
        record.record_drift(&drift("kubectl", 0), now);
        assert_eq!(record.record_drift(&drift("kubectl", 1), now), Sighting::Known);
        assert_ne!(record.record_drift(&drift("helm", 1), now), Sighting::Known);
    }

    #[test]
    fn a_setting_of_a_missing_workload_was_in_effect_only_if_seen_so() {
        let one = one();
        for (before, after) in [
            (InEffect::NotYet, InEffect::NotYet),
            (InEffect::Perhaps(one), InEffect::NotYet),
            (InEffect::Was(one), InEffect::Was(one)),
        ] {
            let mut record = Record { in_effect: before, ..Record::default() };
            record.record_missing();
            assert_eq!(record.in_effect, after);
        }
    }

    #[test]
    fn a_recreated_workload_waits_only_after_throttling() {
        for failure in [Failure::Refused, Failure::Throttled] {
            let mut record = Record::default();
            let retry_at =
                record.record_failure(&"a".into(), failure, Duration::ZERO, Instant::now(), 1.0).retry_at;
            assert_eq!(record.retry_at(&"a".into()), retry_at, "{failure:?}");
            let of_recreated = retry_at.filter(|_| failure == Failure::Throttled);
            assert_eq!(record.retry_at(&"b".into()), of_recreated, "{failure:?}");
        }
    }

    #[test]
    fn a_drift_that_ends_by_itself_does_not_clear_throttling() {
        for failure in [Failure::Unreachable, Failure::Throttled] {
            let mut record = Record::default();
            record.record_drift(&drift("a", 2, 0), Instant::now());
            let due =
                record.record_failure(&"a".into(), failure, Duration::from_secs(1), Instant::now(), 1.0).due;
            assert!(record.record_in_effect(one(), Instant::now(), 1.0).is_some(), "{failure:?}");
            let throttled = Some(due).filter(|_| failure == Failure::Throttled);
            assert_eq!(record.retry_at(&"a".into()), throttled, "{failure:?}");
            record.record_in_effect(one(), due, 0.0);
            assert_eq!(record.failures, None, "{failure:?}");
        }
    }

    /// A record of a target whose next conflict makes it contested, with a drift open.
    fn almost_contested() -> Record {
        let mut record =
            Record { autoscaler: Some("HorizontalPodAutoscaler/web".into()), ..Record::default() };
        record.record_drift(&drift("a", 2, 0), Instant::now());
        record
    }

    type Mutation = fn(&mut Record);

    fn one() -> Replicas {
        Replicas::new(1).expect("valid")
    }

    fn fail(record: &mut Record, failure: Failure) {
        record.record_failure(&"a".into(), failure, Duration::ZERO, Instant::now(), 1.0);
    }

    #[test]
    fn only_what_an_opponent_caused_is_a_conflict() {
        let cases: [(&str, Mutation, bool); 7] = [
            ("repaired", |record| record.record_repaired(one(), Instant::now(), 1.0), true),
            ("a new setting", |record| drop(record.record_applied(one())), false),
            (
                "somebody put it back",
                |record| drop(record.record_in_effect(one(), Instant::now(), 1.0)),
                false,
            ),
            ("stale", |record| fail(record, Failure::Stale), true),
            ("unreachable", |record| fail(record, Failure::Unreachable), false),
            (
                "unacknowledged, but landed",
                |record| {
                    fail(record, Failure::Deadline);
                    record.record_in_effect(one(), Instant::now(), 1.0);
                },
                true,
            ),
            (
                "throttled, and somebody put it back",
                |record| {
                    fail(record, Failure::Throttled);
                    record.record_in_effect(one(), Instant::now(), 1.0);
                },
                false,
            ),
        ];
        for (what, mutate, expected) in cases {
            let mut record = almost_contested();
            mutate(&mut record);
            assert_eq!(record.damping.contested().is_some(), expected, "{what}");
        }
    }

    #[test]
    fn confirming_a_count_allows_one_more_repair() {
        let mut record = Record::default();
        for _ in 0..BUDGET {
            record.record_repaired(one(), Instant::now(), 1.0);
        }
        for _ in 0..3 {
            assert!(record.retry_at(&"a".into()).is_some_and(|at| at > Instant::now()), "no new budget");
            record.record_setting(one());
            assert!(record.retry_at(&"a".into()).is_none_or(|at| at <= Instant::now()));
            record.record_repaired(one(), Instant::now(), 1.0);
        }
    }

    #[test]
    fn a_conflict_ends_with_its_cause() {
        let cases: [(&str, Mutation); 2] = [
            ("a new setting", |record| record.record_setting(Replicas::new(7).expect("valid"))),
            ("no autoscaler any more", |record| assert!(record.record_autoscaler(None))),
        ];
        for (what, mutate) in cases {
            let mut record = almost_contested();
            record.record_repaired(one(), Instant::now(), 1.0);
            assert!(record.retry_at(&"a".into()).is_some());
            mutate(&mut record);
            assert_eq!(record.retry_at(&"a".into()), None, "{what}");
        }
    }

    #[test]
    fn an_autoscaler_is_reported_once() {
        let (web, other) = (Arc::from("web"), Arc::from("other"));
        let mut record = Record::default();
        for (autoscaler, is_new, expected) in [
            (None, false, ConflictState::None),
            (Some(&web), true, ConflictState::Autoscaled),
            (Some(&web), false, ConflictState::Autoscaled),
            (Some(&other), true, ConflictState::Autoscaled),
            (None, true, ConflictState::None),
        ] {
            assert_eq!(record.record_autoscaler(autoscaler), is_new, "{autoscaler:?}");
            assert_eq!(record.conflict_state(), expected, "{autoscaler:?}");
        }
    }
}
