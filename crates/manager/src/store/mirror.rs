//! The settings in memory, for all readers.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use replica_count_core::change::Changed;
use replica_count_core::entry_target::EntryTarget;
use replica_count_core::stored::{Entry, Stored};

/// A copy of the backend's settings in memory. All clones share it. Only the [`Feed`](super::feed::Feed) changes it.
#[derive(Clone, Debug)]
pub(super) struct Mirror {
    stored: Arc<RwLock<Stored>>,
    settings: Gauge,
    unsupported: Gauge,
}

impl Mirror {
    pub(super) fn new(stored: Stored) -> Self {
        let (settings, unsupported) = (Gauge::default(), Gauge::default());
        let this = Self { stored: Arc::new(RwLock::new(stored)), settings, unsupported };
        this.show_counts(&this.read());
        this
    }

    /// All that is stored at one point in time. The backend waits while the guard is held.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Stored> {
        // Nothing panics while changing the maps.
        self.stored.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// Registers the metrics.
    pub(super) fn register(&self, registry: &mut Registry) {
        registry.register("settings", "Targets with a stored replica count", self.settings.clone());
        registry.register(
            "unsupported_entries",
            "Stored entries that this version does not support, and does not enforce",
            self.unsupported.clone(),
        );
    }

    /// Applies changes in the given order.
    pub(super) fn apply(&self, changes: &[Changed]) {
        let mut stored = self.stored.write().unwrap_or_else(PoisonError::into_inner);
        for Changed { target, after, unsupported, .. } in changes {
            if unsupported.is_some() {
                stored.unsupported.remove(target);
            }
            let EntryTarget::Known(target) = target else { continue };
            match after {
                Some(after) => stored.settings.insert(target.clone(), Arc::clone(after)),
                None => stored.settings.remove(target),
            };
        }
        self.show_counts(&stored);
    }

    /// Replaces all that is stored.
    pub(super) fn fill(&self, stored: Stored) {
        let mut current = self.stored.write().unwrap_or_else(PoisonError::into_inner);
        *current = stored;
        self.show_counts(&current);
    }

    /// Replaces what is stored for a target.
    pub(super) fn set(&self, target: &EntryTarget, entry: Option<Entry>) {
        let mut stored = self.stored.write().unwrap_or_else(PoisonError::into_inner);
        stored.unsupported.remove(target);
        if let Some(target) = target.known() {
            stored.settings.remove(target);
        }
        match (entry, target) {
            (Some(Entry::Setting(setting)), EntryTarget::Known(target)) => {
                stored.settings.insert(target.clone(), setting);
            }
            (Some(Entry::Unsupported(entry)), target) => {
                stored.unsupported.insert(target.clone(), entry);
            }
            (Some(Entry::Setting(_)) | None, _) => {}
        }
        self.show_counts(&stored);
    }

    fn show_counts(&self, stored: &Stored) {
        self.settings.set(i64::try_from(stored.settings.len()).unwrap_or(i64::MAX));
        self.unsupported.set(i64::try_from(stored.unsupported.len()).unwrap_or(i64::MAX));
    }
}
