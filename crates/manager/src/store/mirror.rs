//! The settings in memory, as every reader sees them.

use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use prometheus_client::metrics::gauge::Gauge;
use replica_count_core::change::Changed;
use replica_count_core::setting::Settings;

/// The settings that the backend holds. All clones are the same settings. Only the [`Feed`](super::feed::Feed) changes
/// them.
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

    /// The settings at one moment. The backend waits as long as it is held.
    pub(super) fn read(&self) -> RwLockReadGuard<'_, Settings> {
        // Nothing panics while it changes the map.
        self.settings.read().unwrap_or_else(PoisonError::into_inner)
    }

    /// How many settings there are, as a metric.
    pub(super) fn count(&self) -> Gauge {
        self.count.clone()
    }

    /// Follows changes, which come in the order in which they were made.
    pub(super) fn follow(&self, changes: &[Changed]) {
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
