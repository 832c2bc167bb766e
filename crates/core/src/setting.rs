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
    /// The desired count.
    pub replicas: Replicas,
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
            generation: 1,
            enforcement: Enforcement::Enforce,
            set_by: None,
            set_at: None,
            reason: None,
        }
    }

    /// Whether both have the same count, set by the same user at the same time for the same reason.
    pub fn is_same_count_as(&self, other: &Self) -> bool {
        (self.replicas, self.set_at) == (other.replicas, other.set_at)
            && (&self.set_by, &self.reason) == (&other.set_by, &other.reason)
    }
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
