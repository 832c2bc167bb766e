//! A setting: the desired count of one target, and who set it, when and why.

use std::collections::BTreeMap;
use std::sync::Arc;

use jiff::Timestamp;

use crate::replicas::Replicas;
use crate::target::Target;

/// All settings, sorted by target.
pub type Settings = BTreeMap<Target, Arc<Setting>>;

/// What is stored for one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Setting {
    /// The desired count: a temporary one, if there is a `hold`.
    pub replicas: Replicas,
    /// When that count ends by itself. `None`: it does not.
    pub hold: Option<Hold>,
    /// Grows by one with each change of the setting; the first is 1.
    pub generation: u64,
    /// Whether drift is repaired.
    pub enforcement: Enforcement,
    /// The user who set the count. `None`: not known (the entry was written by hand).
    pub set_by: Option<String>,
    /// When the count was set.
    pub set_at: Option<Timestamp>,
    /// Why, as given by that user.
    pub reason: Option<String>,
}

impl Setting {
    /// A setting with nothing but a count, as in a hand-written file.
    pub fn of(replicas: Replicas) -> Self {
        Self {
            replicas,
            hold: None,
            generation: 1,
            enforcement: Enforcement::Enforce,
            set_by: None,
            set_at: None,
            reason: None,
        }
    }

    /// Whether both have the same counts, set by the same user at the same time for the same reason.
    pub fn is_same_count_as(&self, other: &Self) -> bool {
        (self.replicas, self.hold, self.set_at) == (other.replicas, other.hold, other.set_at)
            && (&self.set_by, &self.reason) == (&other.set_by, &other.reason)
    }

    /// What is in force at `now`: without a temporary count that has ended. `None`: nothing is, so the target is not
    /// managed.
    pub fn at(self: &Arc<Self>, now: Timestamp) -> Option<Arc<Self>> {
        let Some(hold) = self.hold.filter(|hold| hold.until <= now) else { return Some(Arc::clone(self)) };
        Some(Arc::new(Self { replicas: hold.afterwards?, hold: None, ..Self::clone(self) }))
    }

    /// The desired count at `now`, and the last one if there is none.
    pub fn count_at(&self, now: Timestamp) -> Replicas {
        let ended = self.hold.filter(|hold| hold.until <= now);
        ended.and_then(|hold| hold.afterwards).unwrap_or(self.replicas)
    }

    /// The desired count apart from a temporary one, whether that has ended or not.
    pub fn lasting(&self) -> Option<Replicas> {
        self.hold.map_or(Some(self.replicas), |hold| hold.afterwards)
    }
}

/// The end of a temporary count. Nothing is rewritten then: what is in force is a function of the time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Hold {
    /// From this time on, the count is no longer desired.
    pub until: Timestamp,
    /// The desired count from then on. `None`: the target is not managed then.
    pub afterwards: Option<Replicas>,
}

/// Whether the drift of a target is repaired.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Enforcement {
    /// Drift is repaired.
    #[default]
    Enforce,
    /// Drift is seen, shown and counted, never repaired.
    Ignore {
        /// When enforcement resumes by itself. `None`: when someone sets `Enforce`.
        until: Option<Timestamp>,
    },
}

impl Enforcement {
    /// The enforcement at `now`: an expired `Ignore` is `Enforce`.
    #[must_use]
    pub fn at(self, now: Timestamp) -> Self {
        match self {
            Self::Ignore { until: Some(until) } if until <= now => Self::Enforce,
            other => other,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_temporary_count_ends_at_its_time() {
        let second = |s| Timestamp::from_second(s).expect("in range");
        let count = |n| Replicas::new(n).expect("valid");
        let lasting = Setting { generation: 4, ..Setting::of(count(3)) };
        for (afterwards, expected) in [(Some(count(3)), Some(lasting)), (None, None)] {
            let hold = Some(Hold { until: second(10), afterwards });
            let held = Arc::new(Setting { hold, generation: 4, ..Setting::of(count(9)) });
            assert_eq!(held.at(second(9)), Some(Arc::clone(&held)));
            assert_eq!(held.at(second(10)).as_deref(), expected.as_ref());
            assert_eq!(held.lasting(), afterwards);
        }
        let plain = Arc::new(Setting::of(count(3)));
        assert_eq!((plain.at(second(10)).as_ref(), plain.lasting()), (Some(&plain), Some(count(3))));
    }

    #[test]
    fn enforcement_resumes_at_its_time() {
        let second = |s| Timestamp::from_second(s).expect("in range");
        let ignored = Enforcement::Ignore { until: Some(second(10)) };
        assert_eq!(ignored.at(second(9)), ignored);
        assert_eq!(ignored.at(second(10)), Enforcement::Enforce);
        let indefinitely = Enforcement::Ignore { until: None };
        assert_eq!(indefinitely.at(second(10)), indefinitely);
        assert_eq!(Enforcement::Enforce.at(second(10)), Enforcement::Enforce);
    }
}
