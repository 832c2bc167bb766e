//! How a target stands, as reads show it and decisions begin with it.

use jiff::Timestamp;

use crate::decide::Policy;
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
        match observation {
            Observation::Unread => Self::Unknown,
            Observation::Absent => Self::Missing,
            Observation::Present(observed) if observed.deleting => Self::Missing,
            Observation::Present(observed) if observed.replicas == setting.replicas => Self::InSync,
            Observation::Present(_) => match policy.enforcement(setting, now) {
                Enforcement::Enforce => Self::Drifted,
                Enforcement::Ignore { .. } => Self::Ignored,
            },
        }
    }
}
