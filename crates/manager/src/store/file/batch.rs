//! A batch: the changes that share one write of the file, decided before anything is written.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use replica_count_core::change::{Change, ChangeError, Changed};
use replica_count_core::entry_target::EntryTarget;
use replica_count_core::setting::Setting;
use replica_count_core::stored::{Entry, Stored, Unsupported};
use replica_count_core::target::Target;

/// The accepted changes of a batch.
///
/// It is an overlay over the settings rather than a changed copy, so the cost of a change does not depend on the number
/// of settings.
#[derive(Debug, Default)]
pub(super) struct Batch {
    changes: Vec<Changed>,
    /// The resulting settings. `None`: deleted.
    settings: BTreeMap<Target, Option<Arc<Setting>>>,
    /// The targets whose unsupported entries were deleted or replaced.
    removed: BTreeSet<EntryTarget>,
}

impl Batch {
    /// Adds `change`, which sees the changes added before it. A refused change has no effect.
    pub(super) fn add(
        &mut self,
        stored: &Stored,
        target: EntryTarget,
        change: &Change,
    ) -> Result<Changed, ChangeError> {
        let before = match target.known().and_then(|target| self.settings.get(target)) {
            Some(changed) => changed.clone().map(Entry::Setting),
            None if self.removed.contains(&target) => None,
            None => stored.get(&target),
        };
        let changed = change.apply(target.clone(), before)?;
        if changed.unsupported.is_some() {
            self.removed.insert(target.clone());
        }
        if let EntryTarget::Known(target) = target {
            self.settings.insert(target, changed.after.clone());
        }
        self.changes.push(changed.clone());
        Ok(changed)
    }

    /// Whether no change was accepted, so there is nothing to write.
    pub(super) fn is_empty(&self) -> bool {
        self.changes.is_empty()
    }

    /// The accepted changes, in order.
    pub(super) fn changes(&self) -> &[Changed] {
        &self.changes
    }

    /// The resulting settings, sorted by target. `None`: deleted.
    pub(super) fn settings(&self) -> impl ExactSizeIterator<Item = (&Target, Option<&Setting>)> {
        self.settings.iter().map(|(target, setting)| (target, setting.as_deref()))
    }

    /// The unsupported entries that remain.
    pub(super) fn unsupported<'a>(&self, stored: &'a Stored) -> impl Iterator<Item = &'a Unsupported> {
        let remaining = stored.unsupported.iter().filter(|(target, _)| !self.removed.contains(*target));
        remaining.map(|(_, entry)| &**entry)
    }
}
