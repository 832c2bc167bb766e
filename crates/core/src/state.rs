//! The state of a target, which reads return and decisions start from.

use jiff::Timestamp;

use crate::conflict::ConflictState;
use crate::observed::Observation;
use crate::policy::Policy;
use crate::setting::{Enforcement, Setting};
use crate::target::Target;

/// The state of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// The cluster has not been read yet.
    Unknown,
    /// The workload exists and no count is stored for it.
    Unmanaged,
    /// The cluster has the desired count.
    InSync,
    /// The cluster has another count, and the setting is enforced.
    Drifted,
    /// Somebody keeps changing the count, which is repaired at growing intervals.
    Contested,
    /// An autoscaler targets the workload, and the setting is still enforced.
    Autoscaled,
    /// The cluster has another count, and the setting is not enforced, or the guard of the namespace is suspended.
    Ignored,
    /// A count is stored, and the workload does not exist or is being deleted.
    Missing,
    /// A count is stored, but this server does not manage the namespace or the kind.
    OutOfScope,
    /// An entry is stored that this version does not support, so it is not enforced.
    Unsupported,
}

impl State {
    /// Its name in objects of Kubernetes.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Unknown => "Unknown",
            Self::Unmanaged => "Unmanaged",
            Self::InSync => "InSync",
            Self::Drifted => "Drifted",
            Self::Contested => "Contested",
            Self::Autoscaled => "Autoscaled",
            Self::Ignored => "Ignored",
            Self::Missing => "Missing",
            Self::OutOfScope => "OutOfScope",
            Self::Unsupported => "Unsupported",
        }
    }

    /// The state of a target, from the setting that is in force at `now`. Without a setting and a workload it is `Missing`.
    /// `is_suspended`: the guard of the namespace is.
    pub fn of(
        target: &Target,
        setting: Option<&Setting>,
        observation: Observation<'_>,
        conflict: ConflictState,
        policy: &Policy,
        is_suspended: bool,
        now: Timestamp,
    ) -> Self {
        let Some(setting) = setting else {
            return match observation {
                Observation::Unread => Self::Unknown,
                Observation::Absent => Self::Missing,
                Observation::Present(_) => Self::Unmanaged,
            };
        };
        if policy.scope.check(target).is_err() {
            return Self::OutOfScope;
        }
        let observed = match observation {
            Observation::Unread => return Self::Unknown,
            Observation::Absent => return Self::Missing,
            Observation::Present(observed) if observed.deleting => return Self::Missing,
            Observation::Present(observed) => observed,
        };
        let is_ignored = is_suspended || policy.enforcement(setting, now) != Enforcement::Enforce;
        match conflict {
            _ if is_ignored && observed.replicas != setting.replicas => Self::Ignored,
            ConflictState::Autoscaled => Self::Autoscaled,
            ConflictState::Contested => Self::Contested,
            ConflictState::None if observed.replicas == setting.replicas => Self::InSync,
            ConflictState::None => Self::Drifted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::guard::GuardState;
    use crate::observed::Observed;
    use crate::replicas::Replicas;

    #[track_caller]
    fn check(enforcement: Enforcement, guard_state: GuardState, found: i32, expected: [State; 3]) {
        let count = |n| Replicas::new(n).expect("valid");
        let target = Target::deployment("ns", "web").expect("valid");
        let setting = Setting { enforcement, ..Setting::of(count(3)) };
        let replicas = count(found);
        let observed = Observed {
            uid: "u".into(),
            resource_version: None,
            replicas,
            ready: 0,
            ready_before: 0,
            deleting: false,
            owner: None,
        };
        let state = |conflict| {
            let observation = Observation::Present(&observed);
            let policy = Policy::default();
            let now = Timestamp::UNIX_EPOCH;
            let is_suspended = guard_state == GuardState::Suspended;
            State::of(&target, Some(&setting), observation, conflict, &policy, is_suspended, now)
        };
        let actual = [ConflictState::None, ConflictState::Contested, ConflictState::Autoscaled].map(state);
        assert_eq!(actual, expected, "{enforcement:?}, found {found}");
    }

    #[test]
    fn a_conflict_shows_unless_a_drift_is_ignored() {
        use State::{Autoscaled, Contested, Drifted, Ignored, InSync};
        let ignore = Enforcement::Ignore { until: None };
        let unguarded = GuardState::Unguarded;
        check(Enforcement::Enforce, unguarded, 3, [InSync, Contested, Autoscaled]);
        check(Enforcement::Enforce, unguarded, 5, [Drifted, Contested, Autoscaled]);
        check(Enforcement::Enforce, GuardState::Behind, 5, [Drifted, Contested, Autoscaled]);
        for (enforcement, guard_state) in [(ignore, unguarded), (Enforcement::Enforce, GuardState::Suspended)]
        {
            check(enforcement, guard_state, 3, [InSync, Contested, Autoscaled]);
            check(enforcement, guard_state, 5, [Ignored; 3]);
        }
    }
}
