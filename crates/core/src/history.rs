//! What happened to one managed target since this process started.

use std::time::Instant;

use jiff::Timestamp;

use crate::managed_fields::{FieldOwner, Operation};
use crate::replicas::Replicas;

/// What was seen of one managed target. Kept in memory only.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct History {
    /// Which desired count was last seen in the cluster: tells a drift from a setting that has not arrived yet.
    pub in_effect: InEffect,
    /// The drift that is seen now and not repaired yet.
    pub open: Option<Drift>,
    /// The last drift, repaired or not.
    pub last: Option<Drift>,
    /// How many drifts were seen.
    pub drifts: u64,
    /// The attempts to repair that failed since the last success.
    pub failures: Option<Failures>,
}

/// Attempts that failed in a row.
#[derive(Clone, Debug, PartialEq)]
pub struct Failures {
    /// The object that they were made on.
    pub uid: Box<str>,
    /// Why the last one failed.
    pub last: Failure,
    /// How many there are.
    pub in_a_row: u32,
    /// How many of the newest failed for the same reason as the last one.
    pub alike: u32,
    /// No attempt before this time.
    pub retry_at: Option<Instant>,
}

/// Why an attempt failed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Failure {
    /// It was decided on what is not so any more.
    Stale,
    /// The API server asked to wait.
    Throttled,
    /// The right was missing.
    Forbidden,
    /// The API server or a policy in it refused the count.
    Refused,
    /// The API server failed, or refused for another reason.
    Failed,
    /// The API server could not be reached.
    Unreachable,
    /// There was no answer in time.
    Deadline,
}

impl Failures {
    /// Whether they say anything of the object `uid`. A wish of the API server to be left alone does of every object.
    fn concern(&self, uid: &str) -> bool {
        *self.uid == *uid || self.last == Failure::Throttled
    }
}

/// Which desired count the cluster had.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum InEffect {
    /// None yet: the setting is new.
    #[default]
    NotYet,
    /// Not known, but perhaps this one: the process started with it.
    Perhaps(Replicas),
    /// This one.
    Was(Replicas),
}

/// What a drift that is seen is to those before it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Sighting {
    /// The one that is open already.
    Known,
    /// A new one.
    New {
        /// The one that was open, which nobody will repair any more.
        instead_of: Option<Drift>,
    },
}

/// One change of a count away from the desired one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// The object it was seen on.
    pub uid: Box<str>,
    /// Who made it. `None`: unknown.
    pub by: Option<FieldOwner>,
    /// When it was made, or, if that is not known, when it was seen.
    pub at: Timestamp,
    /// The desired count.
    pub from: Replicas,
    /// The count found instead.
    pub to: Replicas,
}

impl Drift {
    /// Whether both describe one and the same change, whenever each was seen.
    ///
    /// The time of the owner does not count: it moves with everything that the same field manager writes.
    pub fn is_same_as(&self, other: &Self) -> bool {
        fn culprit(drift: &Drift) -> Option<(&str, Operation, Option<&str>)> {
            let FieldOwner { manager, operation, subresource, time: _ } = drift.by.as_ref()?;
            Some((manager, *operation, subresource.as_deref()))
        }
        self.uid == other.uid
            && culprit(self) == culprit(other)
            && self.from == other.from
            && self.to == other.to
    }

    /// The field manager that made it; empty when unknown.
    pub fn manager(&self) -> &str {
        self.by.as_ref().map_or("", |owner| &owner.manager)
    }
}

impl History {
    /// The history of a setting that the process started with.
    pub fn of_stored_setting(desired: Replicas) -> Self {
        Self { in_effect: InEffect::Perhaps(desired), ..Self::default() }
    }

    /// Takes note of a drift.
    pub fn record_drift(&mut self, drift: &Drift) -> Sighting {
        if self.open.as_ref().is_some_and(|open| open.is_same_as(drift)) {
            return Sighting::Known;
        }
        self.last = Some(drift.clone());
        self.drifts += 1;
        Sighting::New { instead_of: self.open.replace(drift.clone()) }
    }

    /// Takes note that there is no such Deployment: a setting that has not been seen in effect is not.
    pub fn record_missing(&mut self) {
        match self.in_effect {
            InEffect::NotYet | InEffect::Perhaps(_) => self.in_effect = InEffect::NotYet,
            InEffect::Was(_) => {}
        }
    }

    /// Takes note that the cluster has the desired count, and returns the drift that has ended with it.
    pub fn record_in_effect(&mut self, desired: Replicas) -> Option<Drift> {
        self.in_effect = InEffect::Was(desired);
        self.failures = None;
        self.open.take()
    }

    /// Takes note of an attempt on the object `uid` that failed, and returns the row of failures that it ends.
    ///
    /// The next attempt may be made at once, unless the caller says in the row when.
    pub fn record_failure(&mut self, uid: &str, failure: Failure) -> &mut Failures {
        let before = self.failures.take().filter(|before| before.concern(uid));
        let (in_a_row, alike) = match before {
            Some(before) if before.last == failure => (before.in_a_row, before.alike),
            Some(before) => (before.in_a_row, 0),
            None => (0, 0),
        };
        self.failures.insert(Failures {
            uid: uid.into(),
            last: failure,
            in_a_row: in_a_row.saturating_add(1),
            alike: alike.saturating_add(1),
            retry_at: None,
        })
    }

    /// When the next attempt on the object `uid` may be made, if it has to wait. A re-created Deployment has not to.
    pub fn retry_at(&self, uid: &str) -> Option<Instant> {
        self.failures.as_ref().filter(|failures| failures.concern(uid)).and_then(|failures| failures.retry_at)
    }

    /// The setting has changed: forgets failures, unless the API server asked to wait.
    pub fn forgive_for_new_setting(&mut self) {
        self.failures.take_if(|failures| failures.last != Failure::Throttled);
    }

    /// The API server is reached again, and what is observed is current again: forgets failures, if that is what caused
    /// them. True if so.
    pub fn forgive_for_contact(&mut self) -> bool {
        let is_cured = |failures: &mut Failures| match failures.last {
            Failure::Stale | Failure::Unreachable | Failure::Deadline => true,
            Failure::Throttled | Failure::Forbidden | Failure::Refused | Failure::Failed => false,
        };
        self.failures.take_if(is_cured).is_some()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn drift(uid: &str, to: i32, second: i64) -> Drift {
        let count = |n| Replicas::new(n).expect("valid");
        let at = Timestamp::from_second(second).expect("in range");
        Drift { uid: uid.into(), by: None, at, from: count(1), to: count(to) }
    }

    #[test]
    fn one_drift_is_counted_once() {
        let mut history = History::default();
        let new = |instead_of| Sighting::New { instead_of };
        assert_eq!(history.record_drift(&drift("a", 2, 0)), new(None));
        assert_eq!(history.record_drift(&drift("a", 2, 1)), Sighting::Known, "seen again");
        assert_eq!(history.record_drift(&drift("a", 3, 2)), new(Some(drift("a", 2, 0))), "another count");
        assert_eq!(history.record_drift(&drift("b", 3, 3)), new(Some(drift("a", 3, 2))), "another object");
        let desired = Replicas::new(1).expect("valid");
        assert_eq!(history.record_in_effect(desired), Some(drift("b", 3, 3)));
        assert_eq!(history.record_in_effect(desired), None, "nothing was open");
        assert_eq!(history.record_drift(&drift("b", 3, 4)), new(None), "again after a repair");
        assert_eq!((history.drifts, history.last), (4, Some(drift("b", 3, 4))));
    }

    #[test]
    fn another_write_of_the_same_manager_is_no_new_drift() {
        let by = |manager: &str, second| FieldOwner {
            manager: manager.into(),
            operation: Operation::Update,
            subresource: None,
            time: Some(Timestamp::from_second(second).expect("in range")),
        };
        let drift = |manager, second| Drift { by: Some(by(manager, second)), ..drift("a", 2, second) };
        let mut history = History::default();
        history.record_drift(&drift("kubectl", 0));
        assert_eq!(history.record_drift(&drift("kubectl", 1)), Sighting::Known);
        assert_ne!(history.record_drift(&drift("helm", 1)), Sighting::Known);
    }

    #[test]
    fn what_was_seen_missing_has_not_been_in_effect_unless_it_was_seen_so() {
        let one = Replicas::new(1).expect("valid");
        for (before, after) in [
            (InEffect::NotYet, InEffect::NotYet),
            (InEffect::Perhaps(one), InEffect::NotYet),
            (InEffect::Was(one), InEffect::Was(one)),
        ] {
            let mut history = History { in_effect: before, ..History::default() };
            history.record_missing();
            assert_eq!(history.in_effect, after);
        }
    }

    #[test]
    fn failures_are_counted_by_object_and_by_reason() {
        use Failure::{Forbidden, Stale, Throttled};
        let mut history = History::default();
        for (uid, failure, expected) in [
            ("a", Stale, (1, 1)),
            ("a", Stale, (2, 2)),
            ("a", Forbidden, (3, 1)),
            ("a", Stale, (4, 1)),
            ("b", Stale, (1, 1)),
            ("b", Throttled, (2, 1)),
            ("c", Stale, (3, 1)),
        ] {
            let row = history.record_failure(uid, failure);
            assert_eq!((row.in_a_row, row.alike), expected, "{uid} {failure:?}");
        }
    }

    #[test]
    fn forgives_what_may_be_cured() {
        use Failure::{Deadline, Failed, Forbidden, Refused, Stale, Throttled, Unreachable};
        for (failure, by_a_setting, by_contact) in [
            (Stale, true, true),
            (Throttled, false, false),
            (Forbidden, true, false),
            (Refused, true, false),
            (Failed, true, false),
            (Unreachable, true, true),
            (Deadline, true, true),
        ] {
            let mut history = History::default();
            history.record_failure("u", failure);
            assert_eq!(history.clone().forgive_for_contact(), by_contact, "{failure:?}");
            history.forgive_for_new_setting();
            assert_eq!(history.failures.is_none(), by_a_setting, "{failure:?}");
        }
    }

    #[test]
    fn a_recreated_deployment_waits_only_if_the_api_server_asks() {
        let until = Instant::now();
        for (failure, of_another) in [(Failure::Refused, None), (Failure::Throttled, Some(until))] {
            let mut history = History::default();
            history.record_failure("a", failure).retry_at = Some(until);
            assert_eq!(history.retry_at("a"), Some(until), "{failure:?}");
            assert_eq!(history.retry_at("b"), of_another, "{failure:?}");
        }
    }
}
