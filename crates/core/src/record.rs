//! The record of one managed target: what happened to it since this process started.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::conflict::{Basis, Conflict, ConflictState, View};
use crate::drift::Drift;
use crate::failures::{Failure, Failures, WRITE_DEADLINES};
use crate::own_writes::OwnWrites;
use crate::pods::Pods;
use crate::replicas::Replicas;
use crate::steady::SteadyConflict;
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
    /// The conflicts with others.
    pub conflict: Conflict,
    /// The autoscaler that targets the workload.
    pub autoscaler: Option<Arc<str>>,
    /// How many steps of [`WRITE_DEADLINES`] the next write gets beyond the first one.
    pub extra_time: u8,
    /// When the temporary count ends that was in force at the last step. `None`: there was none.
    pub held_until: Option<Timestamp>,
    /// Whether the workload was missing at the last step.
    pub is_missing: bool,
    /// The writes of this process.
    pub own_writes: OwnWrites,
    /// What the last drift has cost.
    pub pods: Pods,
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
    pub fn record_drift(&mut self, drift: &Drift, now: Instant, jitter: f64) -> Sighting {
        self.conflict.record_drift(now);
        if self.open_drift.as_ref().is_some_and(|open| open.is_same_as(drift)) {
            return Sighting::Known;
        }
        // A write for the drift before may have landed.
        self.count_unanswered(now, jitter);
        self.conflict.end_drift();
        if let Some(owner) = &drift.by {
            self.conflict.record_culprit(&owner.writer, now);
        }
        self.last_drift = Some(drift.clone());
        self.drift_count += 1;
        Sighting::New { replaced: self.open_drift.replace(drift.clone()) }
    }

    /// Records that the workload does not exist; returns true if it did at the last step. A setting that was not seen
    /// in effect so far was never in effect, and of failures only throttling matters to the next workload.
    pub fn record_missing(&mut self) -> bool {
        self.failures.take_if(|failures| failures.last != Failure::Throttled);
        self.forget_details();
        match self.in_effect {
            InEffect::NotYet | InEffect::Perhaps(_) => self.in_effect = InEffect::NotYet,
            InEffect::Was(_) => {}
        }
        !std::mem::replace(&mut self.is_missing, true)
    }

    /// Records that an acknowledged write of ours repaired a drift.
    pub fn record_repaired(&mut self, desired: Replicas, now: Instant, jitter: f64) {
        if let Some(view) = self.view() {
            self.record_conflict(view, now, jitter);
        }
        self.record_round(now);
        self.end_drift(desired);
    }

    /// Records that a new setting was put into effect; returns the drift that ended with it.
    pub fn record_applied(&mut self, desired: Replicas) -> Option<Drift> {
        self.end_drift(desired)
    }

    /// Records that the cluster has the desired count; returns the drift that ended with it.
    ///
    /// If a write for it was not answered, that write may have ended it.
    pub fn record_in_effect(&mut self, desired: Replicas, now: Instant, jitter: f64) -> Option<Drift> {
        if self.count_unanswered(now, jitter) {
            self.record_round(now);
        }
        // Throttling also holds for the next drift.
        let throttled =
            self.failures.take_if(|failures| failures.last == Failure::Throttled && failures.due > now);
        let ended = self.end_drift(desired);
        self.failures = throttled;
        self.forget_details();
        ended
    }

    /// Forgets why no write succeeds: none is needed now.
    fn forget_details(&mut self) {
        if let Some(failures) = &mut self.failures {
            failures.details = None;
        }
    }

    fn end_drift(&mut self, desired: Replicas) -> Option<Drift> {
        self.in_effect = InEffect::Was(desired);
        self.failures = None;
        self.conflict.end_drift();
        self.open_drift.take()
    }

    /// Records a failed attempt on `view`, which tested `basis`; returns all consecutive failures.
    ///
    /// `retry_after` is how long the API server asked to wait.
    pub fn record_failure(
        &mut self,
        view: View,
        basis: Basis,
        failure: Failure,
        retry_after: Duration,
        now: Instant,
        jitter: f64,
    ) -> &mut Failures {
        if failure.is_lack_of_time() {
            self.extra_time = (self.extra_time + 1).min(LAST_DEADLINE);
        }
        let before = self.failures.take();
        let failures = Failures::after(before, &view.uid, failure, retry_after, now, jitter);
        if failure == Failure::Stale {
            match basis {
                Basis::Count => self.record_conflict(view, now, jitter),
                Basis::Version => self.conflict.record_outdated(now),
            }
        } else if failure.may_have_landed() {
            self.conflict.record_unanswered();
        }
        self.failures.insert(failures)
    }

    /// Records that admission stored another count in the attempt that failed last.
    pub fn record_altered(&mut self, to: Replicas) {
        if let Some(failures) = &mut self.failures {
            failures.altered_to = Some(to);
        }
    }

    /// Counts a write for the present drift that may have landed without an answer. Returns whether there was one.
    fn count_unanswered(&mut self, now: Instant, jitter: f64) -> bool {
        let view = self.view().filter(|_| self.conflict.take_unanswered());
        view.map(|view| self.record_conflict(view, now, jitter)).is_some()
    }

    fn record_conflict(&mut self, view: View, now: Instant, jitter: f64) {
        self.conflict.record_write(view, self.autoscaler.is_some(), now, jitter);
    }

    fn record_round(&mut self, now: Instant) {
        let by = self.open_drift.as_ref().and_then(|drift| drift.by.as_ref());
        self.conflict.record_round(by.map(|owner| &owner.writer), now);
    }

    /// The view of the present drift.
    fn view(&self) -> Option<View> {
        self.open_drift.as_ref().map(|drift| View { uid: drift.uid.clone(), replicas: drift.to })
    }

    /// Records which autoscaler targets the workload; returns true if that changed.
    pub fn record_autoscaler(&mut self, autoscaler: Option<&Arc<str>>, now: Instant) -> bool {
        if self.autoscaler.as_ref() == autoscaler {
            return false;
        }
        self.autoscaler = autoscaler.cloned();
        if autoscaler.is_none() {
            self.conflict.end_autoscaling(now);
        }
        true
    }

    /// The earliest time of the next attempt on `view`, if it has to wait.
    ///
    /// A re-created workload does not wait because of the failures of the one before. It does wait because of a
    /// conflict: the opponent may be the one who re-creates it.
    pub fn retry_at(&self, view: &View) -> Option<Instant> {
        let failures = self.failures.as_ref().filter(|failures| failures.apply_to(&view.uid));
        let after_failures = failures.and_then(|failures| failures.retry_at);
        after_failures.max(self.conflict.next_write(view))
    }

    /// When the next attempt after the failed ones is made. `None`: as soon as the workload changes.
    pub fn next_try(&self, now: Instant) -> Option<Instant> {
        let after_failures = self.failures.as_ref().and_then(|failures| failures.retry_at);
        let delayed = self.conflict.contested().map(|contested| contested.next_repair);
        after_failures.max(delayed.filter(|until| *until > now))
    }

    /// Who probably causes drifts of unknown cause.
    pub fn suspect(&self, now: Instant) -> Option<Arc<str>> {
        self.conflict.suspect(self.autoscaler.as_ref(), now)
    }

    /// The steady conflict over the count, if there is one.
    pub fn steady_conflict(&self, now: Instant) -> Option<SteadyConflict> {
        self.conflict.steady(self.autoscaler.as_ref(), now)
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

    /// The count that admission stored instead of the desired one in an attempt on the object `uid`.
    pub fn altered_to(&self, uid: &Uid) -> Option<Replicas> {
        self.failures.as_ref().filter(|failures| failures.uid == *uid)?.altered_to
    }

    /// Who else changes the count.
    pub fn conflict_state(&self) -> ConflictState {
        match (&self.autoscaler, self.conflict.contested()) {
            (Some(_), _) => ConflictState::Autoscaled,
            (None, Some(_)) => ConflictState::Contested,
            (None, None) => ConflictState::None,
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
        self.conflict.record_setting(is_confirmed);
    }

    /// Records that the API server is reachable and the observed state is current again. Clears failures caused by the
    /// outage; returns true if there were any.
    pub fn record_reconnect(&mut self) -> bool {
        self.failures.take_if(|failures| failures.clear_on_reconnect()).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::damping::{BUDGET, RETRIES};
    use crate::managed_fields::{FieldOwner, Operation, Writer};

    fn drift(uid: &str, to: i32, second: i64) -> Drift {
        let count = |n| Replicas::new(n).expect("valid");
        let at = Timestamp::from_second(second).expect("in range");
        Drift { uid: uid.into(), by: None, likely_by: None, at, from: count(1), to: count(to) }
    }

    #[test]
    fn one_drift_is_counted_once() {
        let (mut record, now) = (Record::default(), Instant::now());
        let new = |replaced| Sighting::New { replaced };
        assert_eq!(record.record_drift(&drift("a", 2, 0), now, 1.0), new(None));
        assert_eq!(record.record_drift(&drift("a", 2, 1), now, 1.0), Sighting::Known, "seen again");
        assert_eq!(
            record.record_drift(&drift("a", 3, 2), now, 1.0),
            new(Some(drift("a", 2, 0))),
            "another count"
        );
        assert_eq!(
            record.record_drift(&drift("b", 3, 3), now, 1.0),
            new(Some(drift("a", 3, 2))),
            "another object"
        );
        let desired = one();
        assert_eq!(record.record_in_effect(desired, Instant::now(), 1.0), Some(drift("b", 3, 3)));
        assert_eq!(record.record_in_effect(desired, Instant::now(), 1.0), None, "there was no drift");
        assert_eq!(record.record_drift(&drift("b", 3, 4), now, 1.0), new(None), "again after a repair");
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
        record.record_drift(&drift("kubectl", 0), now, 1.0);
        assert_eq!(record.record_drift(&drift("kubectl", 1), now, 1.0), Sighting::Known);
        assert_ne!(record.record_drift(&drift("helm", 1), now, 1.0), Sighting::Known);
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
            let retry_at = record
                .record_failure(view("a"), Basis::Count, failure, Duration::ZERO, Instant::now(), 1.0)
                .retry_at;
            assert_eq!(record.retry_at(&view("a")), retry_at, "{failure:?}");
            let of_recreated = retry_at.filter(|_| failure == Failure::Throttled);
            assert_eq!(record.retry_at(&view("b")), of_recreated, "{failure:?}");
        }
    }

    #[test]
    fn a_drift_that_ends_by_itself_does_not_clear_throttling() {
        for failure in [Failure::Unreachable, Failure::Throttled] {
            let mut record = Record::default();
            record.record_drift(&drift("a", 2, 0), Instant::now(), 1.0);
            let due = record
                .record_failure(view("a"), Basis::Count, failure, Duration::from_secs(1), Instant::now(), 1.0)
                .due;
            assert!(record.record_in_effect(one(), Instant::now(), 1.0).is_some(), "{failure:?}");
            let throttled = Some(due).filter(|_| failure == Failure::Throttled);
            assert_eq!(record.retry_at(&view("a")), throttled, "{failure:?}");
            record.record_in_effect(one(), due, 0.0);
            assert_eq!(record.failures, None, "{failure:?}");
        }
    }

    /// A record of a target whose next conflict makes it contested, with a drift open.
    fn almost_contested() -> Record {
        let mut record =
            Record { autoscaler: Some("HorizontalPodAutoscaler/web".into()), ..Record::default() };
        see_drift(&mut record);
        record
    }

    type Mutation = fn(&mut Record);

    fn one() -> Replicas {
        Replicas::new(1).expect("valid")
    }

    /// The view of a drift to 2.
    fn view(uid: &str) -> View {
        View { uid: uid.into(), replicas: Replicas::new(2).expect("valid") }
    }

    fn see_drift(record: &mut Record) {
        record.record_drift(&drift("a", 2, 0), Instant::now(), 1.0);
    }

    fn fail(record: &mut Record, failure: Failure) {
        record.record_failure(view("a"), Basis::Count, failure, Duration::ZERO, Instant::now(), 1.0);
    }

    fn fail_for_the_version(record: &mut Record) {
        let (view, basis) = (view("a"), Basis::Version);
        record.record_failure(view, basis, Failure::Stale, Duration::ZERO, Instant::now(), 1.0);
    }

    fn return_by_itself(record: &mut Record) {
        record.record_in_effect(one(), Instant::now(), 1.0);
    }

    fn repair(record: &mut Record) {
        see_drift(record);
        record.record_repaired(one(), Instant::now(), 1.0);
    }

    #[test]
    fn only_what_an_opponent_caused_is_a_conflict() {
        let cases: [(&str, Mutation, bool); 5] = [
            ("repaired", |record| record.record_repaired(one(), Instant::now(), 1.0), true),
            ("a new setting", |record| drop(record.record_applied(one())), false),
            ("somebody put it back", return_by_itself, false),
            ("too late", |record| fail(record, Failure::Stale), true),
            ("too late for the version", fail_for_the_version, false),
        ];
        for (what, mutate, expected) in cases {
            let mut record = almost_contested();
            mutate(&mut record);
            assert_eq!(record.conflict.contested().is_some(), expected, "{what}");
        }
    }

    #[test]
    fn a_failed_write_is_a_conflict_only_if_it_may_have_landed() {
        use Failure::{Deadline, Failed, Forbidden, Refused, Stale, Throttled, Unreachable};
        for (failure, while_drifted, in_the_end) in [
            (Stale, true, true),
            (Throttled, false, false),
            (Forbidden, false, false),
            (Refused, false, false),
            (Failed, false, true),
            (Unreachable, false, true),
            (Deadline, false, true),
        ] {
            let ends: [(&str, Mutation); 2] = [
                ("it returned by itself", return_by_itself),
                ("it drifted again", |record| {
                    record.record_drift(&drift("a", 3, 0), Instant::now(), 1.0);
                }),
            ];
            for (end, mutate) in ends {
                let mut record = almost_contested();
                fail(&mut record, failure);
                assert_eq!(record.conflict.contested().is_some(), while_drifted, "{failure:?}");
                fail(&mut record, Throttled);
                mutate(&mut record);
                assert_eq!(record.conflict.contested().is_some(), in_the_end, "{failure:?}, and {end}");
            }
        }
    }

    #[test]
    fn changes_there_and_back_use_up_one_repair_each() {
        for (failure, times) in
            [(Failure::Stale, BUDGET), (Failure::Deadline, BUDGET), (Failure::Refused, 100)]
        {
            let mut record = Record::default();
            for n in 1..=times {
                assert_eq!(record.conflict.contested(), None, "{failure:?}, before the {n}th");
                see_drift(&mut record);
                fail(&mut record, failure);
                return_by_itself(&mut record);
            }
            assert_eq!(record.conflict.contested().is_some(), failure != Failure::Refused, "{failure:?}");
        }
    }

    #[test]
    fn a_write_that_is_repeated_for_the_same_drift_is_no_conflict_but_has_a_limit() {
        let (mut record, now) = (almost_contested(), Instant::now());
        record.autoscaler = None;
        let mut too_late = |times: u32| {
            for _ in 0..times {
                record.record_failure(view("a"), Basis::Count, Failure::Stale, Duration::ZERO, now, 1.0);
                record.failures = None;
            }
            (record.conflict.contested().is_some(), record.retry_at(&view("a")).is_some_and(|at| at > now))
        };
        assert_eq!(too_late(1), (false, false));
        assert_eq!(too_late(RETRIES - 1), (false, false));
        assert_eq!(too_late(1), (false, true), "the next one waits");
        assert_eq!(too_late(10 * BUDGET), (false, true), "it is never contested");
        assert!(record.retry_at(&view("b")).is_none_or(|at| at <= now), "another object");
        record.record_drift(&drift("a", 3, 0), now, 1.0);
        assert!(record.retry_at(&view("a")).is_none_or(|at| at <= now), "another drift");
    }

    #[test]
    fn confirming_a_count_allows_one_more_repair() {
        let mut record = Record { in_effect: InEffect::Was(one()), ..Record::default() };
        for _ in 0..BUDGET {
            repair(&mut record);
        }
        for _ in 0..3 {
            assert!(record.retry_at(&view("a")).is_some_and(|at| at > Instant::now()), "no new budget");
            record.record_setting(one());
            assert!(record.retry_at(&view("a")).is_none_or(|at| at <= Instant::now()));
            repair(&mut record);
        }
    }

    #[test]
    fn a_conflict_ends_with_its_cause() {
        let cases: [(&str, Mutation); 2] = [
            ("a new setting", |record| record.record_setting(Replicas::new(7).expect("valid"))),
            ("no autoscaler any more", |record| assert!(record.record_autoscaler(None, Instant::now()))),
        ];
        for (what, mutate) in cases {
            let mut record = almost_contested();
            record.record_repaired(one(), Instant::now(), 1.0);
            assert!(record.retry_at(&view("a")).is_some());
            mutate(&mut record);
            assert_eq!(record.retry_at(&view("a")), None, "{what}");
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
            assert_eq!(record.record_autoscaler(autoscaler, Instant::now()), is_new, "{autoscaler:?}");
            assert_eq!(record.conflict_state(), expected, "{autoscaler:?}");
        }
    }
}
