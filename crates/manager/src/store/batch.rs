//! A batch: the changes that share one write of the file, decided before anything is written.

use std::collections::BTreeMap;
use std::sync::Arc;

use replica_count_core::change::{Change, ChangeError};
use replica_count_core::setting::{Setting, Settings};
use replica_count_core::target::Target;

use super::Applied;

/// The difference that a batch makes to the settings; `None` for a target that it deletes.
///
/// It lies over the settings instead of being a changed copy, so a change costs nothing for each of the others.
#[derive(Debug, Default)]
pub(super) struct Batch {
    changed: BTreeMap<Target, Option<Arc<Setting>>>,
}

impl Batch {
    /// Adds `change`, which sees the changes that were added before it. A refused one leaves no trace.
    pub(super) fn add(
        &mut self,
        settings: &Settings,
        target: Target,
        change: &Change,
    ) -> Result<Applied, ChangeError> {
        let before = match self.changed.get(&target) {
            Some(changed) => changed.clone(),
            None => settings.get(&target).cloned(),
        };
        let after = change.apply(before.as_deref())?;
        self.changed.insert(target, after.clone());
        Ok(Applied { before, after })
    }

    /// Whether nothing was accepted, so that there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.changed.is_empty()
    }

    /// The targets with an accepted change.
    pub(super) fn targets(&self) -> impl Iterator<Item = &Target> {
        self.changed.keys()
    }

    /// What is changed, sorted by target.
    pub(super) fn changes(&self) -> impl Iterator<Item = (&Target, Option<&Setting>)> {
        self.changed.iter().map(|(target, setting)| (target, setting.as_deref()))
    }

    /// Makes the difference.
    pub(super) fn apply_to(&self, settings: &mut Settings) {
        for (target, setting) in &self.changed {
            match setting {
                Some(setting) => settings.insert(target.clone(), Arc::clone(setting)),
                None => settings.remove(target),
            };
        }
    }
}
