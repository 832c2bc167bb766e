//! The server-wide policy: what the flags set for all targets.

use jiff::Timestamp;

use crate::scope::Scope;
use crate::setting::{Enforcement, Setting};

/// The server-wide policy.
#[derive(Clone, Debug, Default)]
pub struct Policy {
    /// What this server manages.
    pub scope: Scope,
    /// Whether this server repairs anything at all.
    pub enforcement: Enforcement,
}

impl Policy {
    /// Whether a setting is enforced at `now`, and if not, until when it is ignored.
    pub fn enforcement(&self, setting: &Setting, now: Timestamp) -> Enforcement {
        match self.enforcement.at(now) {
            Enforcement::Enforce => setting.enforcement.at(now),
            ignore @ Enforcement::Ignore { .. } => ignore,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::replicas::Replicas;

    #[test]
    fn a_setting_is_enforced_unless_it_or_the_server_ignores_drift() {
        let ignore = Enforcement::Ignore { until: None };
        for (server, setting, expected) in [
            (Enforcement::Enforce, Enforcement::Enforce, Enforcement::Enforce),
            (Enforcement::Enforce, ignore, ignore),
            (ignore, Enforcement::Enforce, ignore),
            (ignore, ignore, ignore),
        ] {
            let policy = Policy { enforcement: server, ..Policy::default() };
            let setting = Setting { enforcement: setting, ..Setting::of(Replicas::new(1).expect("valid")) };
            assert_eq!(policy.enforcement(&setting, Timestamp::UNIX_EPOCH), expected, "{server:?}");
        }
    }
}
