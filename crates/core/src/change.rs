//! A change of a setting, and the rules by which it is accepted.

use std::sync::Arc;

use jiff::Timestamp;

use crate::replicas::Replicas;
use crate::setting::{Enforcement, Setting};
use crate::target::Target;

/// A change of the setting of one target, as requested by a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The generation that the setting must have; 0 means that there must be none. `None`: any.
    pub expected_generation: Option<u64>,
    /// The user.
    pub by: String,
    /// When the user requested it.
    pub at: Timestamp,
    /// What to do.
    pub action: Action,
}

/// What to do to a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Store this desired count. An existing setting keeps its enforcement.
    Set {
        /// The desired count.
        replicas: Replicas,
        /// Why.
        reason: Option<String>,
    },
    /// Enforce, or stop enforcing.
    Enforce(Enforcement),
    /// Delete the setting.
    Delete,
}

/// An applied change: the setting before and after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The target of the setting.
    pub target: Target,
    /// `None`: the target was not managed.
    pub before: Option<Arc<Setting>>,
    /// `None`: the target is no longer managed.
    pub after: Option<Arc<Setting>>,
    /// The user. `None`: not known.
    pub by: Option<String>,
    /// When.
    pub at: Timestamp,
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
    /// Whether this change makes the setting larger than `current`.
    pub fn grows(&self, current: Option<&Setting>) -> bool {
        let Action::Set { reason, .. } = &self.action else { return false };
        let text_bytes = |by: Option<&String>, reason: Option<&String>| {
            by.map_or(0, String::len) + reason.map_or(0, String::len)
        };
        current.is_none_or(|current| {
            let current_bytes = text_bytes(current.set_by.as_ref(), current.reason.as_ref());
            text_bytes(Some(&self.by), reason.as_ref()) > current_bytes
        })
    }

    /// Applies this change to `before`, the setting of `target`.
    ///
    /// A change of nothing but the time also counts: it shows who confirmed the count last.
    pub fn apply(&self, target: Target, before: Option<Arc<Setting>>) -> Result<Changed, ChangeError> {
        let after = self.setting_after(before.as_deref())?.map(Arc::new);
        Ok(Changed { target, before, after, by: Some(self.by.clone()), at: self.at })
    }

    fn setting_after(&self, before: Option<&Setting>) -> Result<Option<Setting>, ChangeError> {
        let actual = before.map_or(0, |setting| setting.generation);
        if let Some(expected) = self.expected_generation
            && expected != actual
        {
            return Err(ChangeError::Generation { expected, actual });
        }
        let generation = actual.saturating_add(1);
        match &self.action {
            Action::Set { replicas, reason } => Ok(Some(Setting {
                replicas: *replicas,
                generation,
                enforcement: before.map(|setting| setting.enforcement).unwrap_or_default(),
                set_by: Some(self.by.clone()),
                set_at: Some(self.at),
                reason: reason.clone(),
            })),
            Action::Enforce(enforcement) => {
                let before = before.ok_or(ChangeError::NotManaged)?;
                Ok(Some(Setting { enforcement: *enforcement, generation, ..before.clone() }))
            }
            Action::Delete => before.map(|_| None).ok_or(ChangeError::NotManaged),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(expected_generation: Option<u64>, action: Action) -> Change {
        Change { expected_generation, by: "alice".into(), at: Timestamp::UNIX_EPOCH, action }
    }

    fn set(count: i32) -> Action {
        Action::Set { replicas: Replicas::new(count).expect("valid"), reason: None }
    }

    fn apply(change: &Change, before: Option<&Arc<Setting>>) -> Result<Option<Arc<Setting>>, ChangeError> {
        let target = Target::deployment("shop", "web").expect("valid");
        change.apply(target, before.cloned()).map(|changed| changed.after)
    }

    #[test]
    fn each_change_raises_the_generation_by_one() {
        let first = apply(&change(None, set(1)), None).expect("accepted").expect("stored");
        assert_eq!((first.generation, first.replicas.get()), (1, 1));
        let ignore = Enforcement::Ignore { until: None };
        let ignored = change(Some(1), Action::Enforce(ignore));
        let second = apply(&ignored, Some(&first)).expect("accepted").expect("stored");
        assert_eq!((second.generation, second.enforcement), (2, ignore));
        let third = apply(&change(None, set(3)), Some(&second)).expect("accepted").expect("stored");
        assert_eq!((third.generation, third.enforcement, third.replicas.get()), (3, ignore, 3));
        assert_eq!(apply(&change(Some(3), Action::Delete), Some(&third)), Ok(None));
    }

    #[test]
    fn an_unexpected_generation_is_refused() {
        let current = Arc::new(Setting { generation: 7, ..Setting::of(Replicas::new(1).expect("valid")) });
        for (expected, setting, actual) in [(6, Some(&current), 7), (0, Some(&current), 7), (1, None, 0)] {
            for action in [set(1), Action::Delete, Action::Enforce(Enforcement::Enforce)] {
                let refused = apply(&change(Some(expected), action), setting);
                assert_eq!(refused, Err(ChangeError::Generation { expected, actual }));
            }
        }
    }

    #[test]
    fn only_longer_texts_grow() {
        let replicas = Replicas::new(9).expect("valid");
        let set = |by: &str, reason: &str| {
            let action = Action::Set { replicas, reason: Some(reason.into()) };
            Change { by: by.into(), ..change(None, action) }
        };
        let current = apply(&set("alice", "sale"), None).expect("accepted").expect("stored");
        assert!(set("bob", "").grows(None));
        assert!(!set("bob", "a sale").grows(Some(&current)));
        assert!(set("bob", "a sale!").grows(Some(&current)));
        assert!(!change(None, Action::Delete).grows(Some(&current)));
        assert!(!change(None, Action::Enforce(Enforcement::Enforce)).grows(Some(&current)));
    }

    #[test]
    fn an_unmanaged_target_cannot_be_deleted_or_enforced() {
        for action in [Action::Delete, Action::Enforce(Enforcement::Enforce)] {
            assert_eq!(apply(&change(None, action), None), Err(ChangeError::NotManaged));
        }
    }
}
