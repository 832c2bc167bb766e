//! What happened to one managed target since this process started.

use std::time::Instant;

use jiff::Timestamp;

use crate::managed_fields::FieldOwner;
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
    /// How many attempts to repair failed in a row.
    pub failures: u32,
    /// No attempt before this time: the API server failed, or asked to wait.
    pub retry_at: Option<Instant>,
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
    pub fn is_same_as(&self, other: &Self) -> bool {
        self.uid == other.uid && self.by == other.by && self.from == other.from && self.to == other.to
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

    /// Takes note of a drift; true if it is a new one.
    pub fn record_drift(&mut self, drift: &Drift) -> bool {
        if self.open.as_ref().is_some_and(|open| open.is_same_as(drift)) {
            return false;
        }
        self.open = Some(drift.clone());
        self.last = Some(drift.clone());
        self.drifts += 1;
        true
    }

    /// Takes note that the cluster has the desired count.
    pub fn record_in_effect(&mut self, desired: Replicas) {
        self.in_effect = InEffect::Was(desired);
        self.open = None;
        self.forgive();
    }

    /// Takes note of a failed attempt; none is made again before `retry_at`, if given.
    pub fn record_failure(&mut self, retry_at: Option<Instant>) {
        self.failures = self.failures.saturating_add(1);
        self.retry_at = retry_at;
    }

    /// Forgets failures: the API server works, or works again.
    pub fn forgive(&mut self) {
        self.failures = 0;
        self.retry_at = None;
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
        assert!(history.record_drift(&drift("a", 2, 0)));
        assert!(!history.record_drift(&drift("a", 2, 1)), "seen again");
        assert!(history.record_drift(&drift("a", 3, 2)), "another count");
        assert!(history.record_drift(&drift("b", 3, 3)), "another object");
        history.record_in_effect(Replicas::new(1).expect("valid"));
        assert!(history.record_drift(&drift("b", 3, 4)), "again after a repair");
        assert_eq!((history.drifts, history.last), (4, Some(drift("b", 3, 4))));
    }
}
