//! A change of a setting, and the rules by which it is accepted.

use std::sync::Arc;

use jiff::Timestamp;

use crate::entry_target::EntryTarget;
use crate::replicas::Replicas;
use crate::setting::{Enforcement, Hold, Setting};
use crate::stored::{Entry, Unsupported};

/// A change of the setting of one target, as requested by a user.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The generation that the setting must have; 0 means that there must be none. `None`: any.
    pub expected_generation: Option<u64>,
    /// Whether there must be something stored already.
    pub existing: Existing,
    /// The user.
    pub by: String,
    /// When the user requested it.
    pub at: Timestamp,
    /// What to do.
    pub action: Action,
}

/// What must be stored for the target of a change, if the user may only create or only change settings.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Existing {
    /// Anything or nothing.
    #[default]
    Any,
    /// Something.
    Required,
    /// Nothing.
    Refused,
}

/// What to do to a setting.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Action {
    /// Store this desired count. An existing setting keeps its enforcement.
    Set {
        /// The desired count.
        replicas: Replicas,
        /// When it ends. `None`: it does not, and replaces a temporary one, too.
        until: Option<Timestamp>,
        /// Why.
        reason: Option<String>,
    },
    /// The same, and an entry that this version does not support is replaced.
    Replace {
        /// The desired count.
        replicas: Replicas,
        /// When it ends.
        until: Option<Timestamp>,
        /// Why.
        reason: Option<String>,
    },
    /// Enforce, or stop enforcing.
    Enforce(Enforcement),
    /// Delete what is stored, supported or not.
    Delete,
}

/// An applied change: the setting before and after it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Changed {
    /// The target of the setting.
    pub target: EntryTarget,
    /// `None`: the target was not managed.
    pub before: Option<Arc<Setting>>,
    /// `None`: the target is no longer managed.
    pub after: Option<Arc<Setting>>,
    /// The entry that was deleted or replaced although this version does not support it.
    pub unsupported: Option<Arc<Unsupported>>,
    /// The user. `None`: not known.
    pub by: Option<String>,
    /// When.
    pub at: Timestamp,
}

/// Why a change was refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ChangeError {
    /// The caller expected another generation.
    #[error("the setting has generation {actual}, not {expected} as expected")]
    Generation {
        /// What the caller expected.
        expected: u64,
        /// What is stored; 0 when nothing is.
        actual: u64,
    },
    /// Something was stored, or deleted, since the user's rights were checked.
    #[error("the setting was created or deleted meanwhile")]
    Existing,
    /// There is no setting to change.
    #[error("no replica count is stored")]
    NotManaged,
    /// Another version has written the entry.
    #[error("the stored entry is not supported: {reason}")]
    Unsupported {
        /// What is not known.
        reason: Arc<str>,
    },
}

impl Change {
    /// Whether this change makes the setting larger than `current`.
    pub fn grows(&self, current: Option<&Setting>) -> bool {
        let (Action::Set { reason, .. } | Action::Replace { reason, .. }) = &self.action else {
            return false;
        };
        let text_bytes = |by: Option<&String>, reason: Option<&String>| {
            by.map_or(0, String::len) + reason.map_or(0, String::len)
        };
        current.is_none_or(|current| {
            let current_bytes = text_bytes(current.set_by.as_ref(), current.reason.as_ref());
            text_bytes(Some(&self.by), reason.as_ref()) > current_bytes
        })
    }

    /// Applies this change to `before`, what is stored for `target`. A kind that this version does not know has no
    /// settings, so what is stored for it can only be deleted.
    ///
    /// A change of nothing but the time also counts: it shows who confirmed the count last.
    pub fn apply(&self, target: EntryTarget, before: Option<Entry>) -> Result<Changed, ChangeError> {
        let after = self.setting_after(&target, before.as_ref())?.map(Arc::new);
        let (before, unsupported) = match before {
            Some(Entry::Setting(setting)) => (setting.at(self.at), None),
            Some(Entry::Unsupported(entry)) => (None, Some(entry)),
            None => (None, None),
        };
        Ok(Changed { target, before, after, unsupported, by: Some(self.by.clone()), at: self.at })
    }

    fn setting_after(
        &self,
        target: &EntryTarget,
        before: Option<&Entry>,
    ) -> Result<Option<Setting>, ChangeError> {
        let is_stored = before.is_some();
        match (self.existing, is_stored) {
            (Existing::Any, _) | (Existing::Required, true) | (Existing::Refused, false) => {}
            (Existing::Required, false) | (Existing::Refused, true) => return Err(ChangeError::Existing),
        }
        // What has ended is not expected by anybody, but no generation is used twice.
        let (before, actual, last) = match before {
            Some(Entry::Setting(setting)) => {
                let in_force = setting.at(self.at);
                let actual = in_force.as_ref().map_or(0, |setting| setting.generation);
                (in_force, actual, setting.generation)
            }
            Some(Entry::Unsupported(entry)) => {
                self.check_replaces(target, entry)?;
                (None, entry.generation, entry.generation)
            }
            None if target.known().is_none() => return Err(ChangeError::NotManaged),
            None => (None, 0, 0),
        };
        if let Some(expected) = self.expected_generation
            && expected != actual
        {
            return Err(ChangeError::Generation { expected, actual });
        }
        let generation = last.saturating_add(1);
        match &self.action {
            Action::Set { replicas, until, reason } | Action::Replace { replicas, until, reason } => {
                let afterwards = before.as_ref().and_then(|before| before.lasting());
                Ok(Some(Setting {
                    replicas: *replicas,
                    hold: until.map(|until| Hold { until, afterwards }),
                    generation,
                    enforcement: before.map(|setting| setting.enforcement).unwrap_or_default(),
                    set_by: Some(self.by.clone()),
                    set_at: Some(self.at),
                    reason: reason.clone(),
                }))
            }
            Action::Enforce(enforcement) => {
                let before = before.ok_or(ChangeError::NotManaged)?;
                Ok(Some(Setting { enforcement: *enforcement, generation, ..Setting::clone(&before) }))
            }
            Action::Delete if is_stored => Ok(None),
            Action::Delete => Err(ChangeError::NotManaged),
        }
    }

    /// Whether this change may replace or delete an entry that is not supported.
    fn check_replaces(&self, target: &EntryTarget, entry: &Unsupported) -> Result<(), ChangeError> {
        match (&self.action, target) {
            (Action::Delete, _) | (Action::Replace { .. }, EntryTarget::Known(_)) => Ok(()),
            (Action::Set { .. } | Action::Enforce(_) | Action::Replace { .. }, _) => {
                Err(ChangeError::Unsupported { reason: Arc::clone(&entry.reason) })
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::entry_target::OtherTarget;
    use crate::target::Target;

    fn change(expected_generation: Option<u64>, action: Action) -> Change {
        Change {
            expected_generation,
            existing: Existing::Any,
            by: "alice".into(),
            at: Timestamp::UNIX_EPOCH,
            action,
        }
    }

    fn set(count: i32) -> Action {
        Action::Set { replicas: Replicas::new(count).expect("valid"), until: None, reason: None }
    }

    fn apply(change: &Change, before: Option<&Arc<Setting>>) -> Result<Option<Arc<Setting>>, ChangeError> {
        change.apply(web(), before.cloned().map(Entry::Setting)).map(|changed| changed.after)
    }

    fn web() -> EntryTarget {
        Target::deployment("shop", "web").expect("valid").into()
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
    fn a_temporary_count_replaces_only_another_one() {
        let second = |second| Timestamp::from_second(second).expect("in range");
        let count = |n| Replicas::new(n).expect("valid");
        let at = |time, expected, action| Change { at: second(time), ..change(expected, action) };
        let hold = |n, until| Action::Set { replicas: count(n), until: Some(second(until)), reason: None };
        let (ignore, delete) = (Action::Enforce(Enforcement::Ignore { until: None }), Action::Delete);
        let apply = |change: Change, before: &Setting| {
            let after = apply(&change, Some(&Arc::new(before.clone())));
            after.map(|after| after.map(|after| (after.generation, after.replicas.get(), after.hold)))
        };
        let held = |until, afterwards: Option<i32>| {
            Some(Hold { until: second(until), afterwards: afterwards.map(count) })
        };
        let lasting = Setting { generation: 7, ..Setting::of(count(3)) };
        let first = Setting { hold: held(10, Some(3)), ..Setting { replicas: count(9), ..lasting.clone() } };
        assert_eq!(apply(at(0, Some(7), hold(9, 10)), &lasting), Ok(Some((8, 9, held(10, Some(3))))));
        assert_eq!(apply(at(5, Some(7), hold(6, 20)), &first), Ok(Some((8, 6, held(20, Some(3))))));
        assert_eq!(apply(at(15, Some(7), hold(6, 20)), &first), Ok(Some((8, 6, held(20, Some(3))))));
        assert_eq!(apply(at(5, None, set(4)), &first), Ok(Some((8, 4, None))));
        assert_eq!(apply(at(5, None, ignore.clone()), &first), Ok(Some((8, 9, held(10, Some(3))))));
        assert_eq!(apply(at(10, None, ignore.clone()), &first), Ok(Some((8, 3, None))));

        // There was no setting before.
        let only = Setting { hold: held(10, None), ..first };
        assert_eq!(apply(at(5, Some(7), hold(6, 20)), &only), Ok(Some((8, 6, held(20, None)))));
        assert_eq!(apply(at(10, None, ignore), &only), Err(ChangeError::NotManaged));
        assert_eq!(apply(at(10, Some(0), hold(6, 20)), &only), Ok(Some((8, 6, held(20, None)))));
        let refused = Err(ChangeError::Generation { expected: 7, actual: 0 });
        assert_eq!(apply(at(10, Some(7), set(4)), &only), refused);
        assert_eq!(apply(at(10, None, delete), &only), Ok(None));
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
            let action = Action::Set { replicas, until: None, reason: Some(reason.into()) };
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
    fn an_unsupported_entry_is_only_replaced_or_deleted() {
        let rollout = EntryTarget::Other(OtherTarget::new("Rollout", "shop", "web").expect("valid"));
        let entry = Arc::new(Unsupported { reason: "new".into(), generation: 7, json: "{}".into() });
        let replicas = Replicas::new(3).expect("valid");
        let replace = || Action::Replace { replicas, until: None, reason: None };
        let apply = |target: &EntryTarget, expected, action| {
            let before = Some(Entry::Unsupported(Arc::clone(&entry)));
            change(expected, action).apply(target.clone(), before)
        };
        let refused = || Err(ChangeError::Unsupported { reason: "new".into() });
        for action in [set(3), Action::Enforce(Enforcement::Enforce)] {
            assert_eq!(apply(&web(), None, action.clone()), refused());
            assert_eq!(apply(&rollout, None, action), refused());
        }
        assert_eq!(apply(&rollout, None, replace()), refused(), "there are no settings of this kind");
        let expected = Err(ChangeError::Generation { expected: 0, actual: 7 });
        assert_eq!(apply(&web(), Some(0), replace()), expected);

        let replaced = apply(&web(), Some(7), replace()).expect("accepted");
        assert_eq!(replaced.after.map(|after| (after.generation, after.replicas)), Some((8, replicas)));
        assert_eq!((replaced.before, replaced.unsupported), (None, Some(Arc::clone(&entry))));
        for target in [web(), rollout.clone()] {
            let deleted = apply(&target, Some(7), Action::Delete).expect("accepted");
            assert_eq!((deleted.after, deleted.unsupported), (None, Some(Arc::clone(&entry))));
        }
        for action in [set(3), replace(), Action::Delete] {
            let refused = change(None, action).apply(rollout.clone(), None);
            assert_eq!(refused, Err(ChangeError::NotManaged));
        }
        let created = change(Some(0), replace()).apply(web(), None).expect("accepted");
        assert_eq!(created.after.map(|after| after.generation), Some(1));
    }

    #[test]
    fn an_unmanaged_target_cannot_be_deleted_or_enforced() {
        for action in [Action::Delete, Action::Enforce(Enforcement::Enforce)] {
            assert_eq!(apply(&change(None, action), None), Err(ChangeError::NotManaged));
        }
    }
    #[test]
    fn who_may_only_create_changes_nothing_and_the_other_way_round() {
        let current = Arc::new(Setting { generation: 7, ..Setting::of(Replicas::new(1).expect("valid")) });
        for (existing, setting, is_accepted) in [
            (Existing::Any, Some(&current), true),
            (Existing::Any, None, true),
            (Existing::Required, Some(&current), true),
            (Existing::Required, None, false),
            (Existing::Refused, Some(&current), false),
            (Existing::Refused, None, true),
        ] {
            let applied = apply(&Change { existing, ..change(None, set(1)) }, setting);
            let refused = applied.err().map(|error| error == ChangeError::Existing);
            assert_eq!(refused, (!is_accepted).then_some(true), "{existing:?} {setting:?}");
        }
    }

    #[test]
    fn the_generation_matters_only_to_those_with_the_right() {
        let change = Change { existing: Existing::Required, ..change(Some(3), set(1)) };
        assert_eq!(apply(&change, None), Err(ChangeError::Existing));
    }
}
