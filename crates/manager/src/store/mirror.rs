//! The settings in memory, for all readers.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use prometheus_client::metrics::gauge::Gauge;
use replica_count_core::change::Changed;
use replica_count_core::setting::Settings;

/// A copy of the backend's settings in memory. All clones share it. Only the [`Feed`](super::feed::Feed) changes it.
#[derive(Clone, Debug)]
pub(super) struct Mirror {
    settings: Arc<RwLock<Settings>>,
    count: Gauge,
}

impl Mirror {
    pub(super) fn new(settings: Settings) -> Self {
        let this = Self { settings: Arc::new(RwLock::new(settings)), count: Gauge::default() };
        this.show_count(&this.read());
        this
    }

    /// The settings at one point in time. The backend waits while the guard is held.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Settings> {
        // Nothing panics while changing the map.
        self.settings.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// The number of settings, as a metric.
    pub(super) fn count(&self) -> Gauge {
        self.count.clone()
    }

    /// Applies changes in the given order.
    pub(super) fn apply(&self, changes: &[Changed]) {
        let mut settings = self.settings.write().unwrap_or_else(PoisonError::into_inner);
        for Changed { target, after, .. } in changes {
            match after {
                Some(after) => settings.insert(target.clone(), Arc::clone(after)),
                None => settings.remove(target),
            };
        }
        self.show_count(&settings);
    }

    fn show_count(&self, settings: &Settings) {
        self.count.set(i64::try_from(settings.len()).unwrap_or(i64::MAX));
    }
}
