//! How a target stands, as reads show it and decisions begin with it.

use jiff::Timestamp;

use crate::decide::Policy;
use crate::history::Opposition;
use crate::observed::Observation;
use crate::setting::{Enforcement, Setting};
use crate::target::Target;

/// How a target stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// The cluster has not been read yet.
    Unknown,
    /// It exists and nothing is stored for it.
    Unmanaged,
    /// The cluster has the desired count.
    InSync,
    /// The cluster has another count, and it is enforced.
    Drifted,
    /// Somebody keeps drifting it, and it is enforced ever more slowly.
    Contested,
    /// An autoscaler targets it, and it is enforced all the same.
    Autoscaled,
    /// The cluster has another count, and it is not enforced.
    Ignored,
    /// It is stored and does not exist, or is on its way out.
    Missing,
    /// It is stored, but in a namespace that this server does not manage.
    OutOfScope,
}

impl State {
    /// The state of a target. One that is neither stored nor there counts as `Missing`.
    pub fn of(
        target: &Target,
        setting: Option<&Setting>,
        observation: Observation<'_>,
        opposition: Opposition,
        policy: &Policy,
        now: Timestamp,
    ) -> Self {
        let Some(setting) = setting else {
            return match observation {
                Observation::Unread => Self::Unknown,
                Observation::Absent => Self::Missing,
                Observation::Present(_) => Self::Unmanaged,
            };
        };
        if policy.scope.check(target.namespace()).is_err() {
            return Self::OutOfScope;
        }
        let observed = match observation {
            Observation::Unread => return Self::Unknown,
            Observation::Absent => return Self::Missing,
            Observation::Present(observed) if observed.deleting => return Self::Missing,
            Observation::Present(observed) => observed,
        };
        match (policy.enforcement(setting, now), opposition) {
            (Enforcement::Ignore { .. }, _) if observed.replicas != setting.replicas => Self::Ignored,
            (_, Opposition::Autoscaler) => Self::Autoscaled,
            (_, Opposition::Contest) => Self::Contested,
            (_, Opposition::None) if observed.replicas == setting.replicas => Self::InSync,
            (_, Opposition::None) => Self::Drifted,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observed::Observed;
    use crate::replicas::Replicas;

    #[track_caller]
    fn check(enforcement: Enforcement, found: i32, expected: [State; 3]) {
        let count = |n| Replicas::new(n).expect("valid");
        let target = Target::new("ns", "web").expect("valid");
        let setting = Setting { enforcement, ..Setting::of(count(3)) };
        let replicas = count(found);
        let observed = Observed {
            uid: "u".into(),
            resource_version: None,
            replicas,
            ready: 0,
            deleting: false,
            owner: None,
        };
        let state = |opposition| {
            let observation = Observation::Present(&observed);
            let policy = Policy::default();
            State::of(&target, Some(&setting), observation, opposition, &policy, Timestamp::UNIX_EPOCH)
        };
        let actual = [Opposition::None, Opposition::Contest, Opposition::Autoscaler].map(state);
        assert_eq!(actual, expected, "{enforcement:?}, found {found}");
    }

    #[test]
    fn opposition_shows_unless_a_drift_is_ignored() {
        use State::{Autoscaled, Contested, Drifted, Ignored, InSync};
        let ignore = Enforcement::Ignore { until: None };
        check(Enforcement::Enforce, 3, [InSync, Contested, Autoscaled]);
        check(Enforcement::Enforce, 5, [Drifted, Contested, Autoscaled]);
        check(ignore, 3, [InSync, Contested, Autoscaled]);
        check(ignore, 5, [Ignored; 3]);
    }
}
