//! A change of a setting, and the rules by which it is accepted.

use std::sync::Arc;

use jiff::Timestamp;

use crate::replicas::Replicas;
use crate::setting::{Enforcement, Setting};

/// What a caller wants done to the setting of one target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The generation that the setting must have; 0 means that there must be none. `None`: any.
    pub expected_generation: Option<u64>,
    /// What to do.
    pub action: Action,
}

/// What to do to a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Desire this count. A setting that exists keeps its enforcement.
    Set {
        /// The desired count.
        replicas: Replicas,
        /// The user who asks.
        by: String,
        /// When.
        at: Timestamp,
        /// Why.
        reason: Option<String>,
    },
    /// Enforce, or stop enforcing.
    Enforce(Enforcement),
    /// Forget the setting.
    Delete,
}

/// Why a change was refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The caller expected another generation.
    #[error("the setting has generation {actual}, not {expected} as expected")]
    Generation {
        /// What the caller expected.
        expected: u64,
        /// What is stored; 0 when nothing is.
        actual: u64,
    },
    /// There is no setting to change.
    #[error("no replica count is stored")]
    NotManaged,
}

impl Change {
    /// Whether the setting takes more room after it than `current` does.
    pub fn grows(&self, current: Option<&Setting>) -> bool {
        let Action::Set { by, reason, .. } = &self.action else { return false };
        let texts = |by: Option<&String>, reason: Option<&String>| {
            by.map_or(0, String::len) + reason.map_or(0, String::len)
        };
        current.is_none_or(|current| {
            texts(Some(by), reason.as_ref()) > texts(current.set_by.as_ref(), current.reason.as_ref())
        })
    }

    /// The setting after this change of `current`; `None` when it is forgotten.
    ///
    /// A change that would change nothing but the time still counts as one, so that a later reader sees who confirmed
    /// the count last.
    pub fn apply(&self, current: Option<&Setting>) -> Result<Option<Arc<Setting>>, ChangeError> {
        let actual = current.map_or(0, |setting| setting.generation);
        if let Some(expected) = self.expected_generation
            && expected != actual
        {
            return Err(ChangeError::Generation { expected, actual });
        }
        let generation = actual.saturating_add(1);
        match &self.action {
            Action::Set { replicas, by, at, reason } => Ok(Some(Arc::new(Setting {
                replicas: *replicas,
                generation,
                enforcement: current.map(|setting| setting.enforcement).unwrap_or_default(),
                set_by: Some(by.clone()),
                set_at: Some(*at),
                reason: reason.clone(),
            }))),
            Action::Enforce(enforcement) => {
                let current = current.ok_or(ChangeError::NotManaged)?;
                Ok(Some(Arc::new(Setting { enforcement: *enforcement, generation, ..current.clone() })))
            }
            Action::Delete => current.map(|_| None).ok_or(ChangeError::NotManaged),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(expected_generation: Option<u64>, action: Action) -> Change {
        Change { expected_generation, action }
    }

    fn set(count: i32) -> Action {
        let replicas = Replicas::new(count).expect("valid");
        Action::Set { replicas, by: "alice".into(), at: Timestamp::UNIX_EPOCH, reason: None }
    }

    #[test]
    fn each_change_raises_the_generation_by_one() {
        let first = change(None, set(1)).apply(None).expect("accepted").expect("stored");
        assert_eq!((first.generation, first.replicas.get()), (1, 1));
        let ignore = Enforcement::Ignore { until: None };
        let second =
            change(Some(1), Action::Enforce(ignore)).apply(Some(&first)).expect("accepted").expect("stored");
        assert_eq!((second.generation, second.enforcement), (2, ignore));
        let third = change(None, set(3)).apply(Some(&second)).expect("accepted").expect("stored");
        assert_eq!((third.generation, third.enforcement, third.replicas.get()), (3, ignore, 3));
        assert_eq!(change(Some(3), Action::Delete).apply(Some(&third)), Ok(None));
    }

    #[test]
    fn an_unexpected_generation_is_refused() {
        let current = Setting { generation: 7, ..Setting::of(Replicas::new(1).expect("valid")) };
        for (expected, setting, actual) in [(6, Some(&current), 7), (0, Some(&current), 7), (1, None, 0)] {
            for action in [set(1), Action::Delete, Action::Enforce(Enforcement::Enforce)] {
                let refused = change(Some(expected), action).apply(setting);
                assert_eq!(refused, Err(ChangeError::Generation { expected, actual }));
            }
        }
    }

    #[test]
    fn only_more_text_grows() {
        let replicas = Replicas::new(9).expect("valid");
        let set = |by: &str, reason: &str| {
            let action = Action::Set {
                replicas,
                by: by.into(),
                at: Timestamp::UNIX_EPOCH,
                reason: Some(reason.into()),
            };
            change(None, action)
        };
        let current = set("alice", "sale").apply(None).expect("accepted").expect("stored");
        assert!(set("bob", "").grows(None));
        assert!(!set("bob", "a sale").grows(Some(&current)));
        assert!(set("bob", "a sale!").grows(Some(&current)));
        assert!(!change(None, Action::Delete).grows(Some(&current)));
        assert!(!change(None, Action::Enforce(Enforcement::Enforce)).grows(Some(&current)));
    }

    #[test]
    fn what_is_not_managed_cannot_be_deleted_or_enforced() {
        for action in [Action::Delete, Action::Enforce(Enforcement::Enforce)] {
            assert_eq!(change(None, action).apply(None), Err(ChangeError::NotManaged));
        }
    }
}
