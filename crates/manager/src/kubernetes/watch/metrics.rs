//! What is counted about a watch. Labels are fixed words, never texts of errors.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::error::WatchError;

/// A counter by reason.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// What is counted about a watch.
#[derive(Clone, Debug, Default)]
pub struct WatchMetrics {
    events: Counter,
    interruptions: Family<Reason, Counter>,
}

impl WatchMetrics {
    /// Makes them show, under names that begin with `prefix`.
    ///
    /// A reason that has not happened yet shows as 0, so that its first time is an increase.
    pub fn register(&self, registry: &mut Registry, prefix: &str) {
        for reason in WatchError::REASONS {
            self.interruptions.get_or_create_owned(&Reason { reason });
        }
        registry.register(
            format!("{prefix}watch_events"),
            "Objects that the watch showed",
            self.events.clone(),
        );
        registry.register(
            format!("{prefix}watch_interruptions"),
            "Watches that ended early, by reason",
            self.interruptions.clone(),
        );
    }

    /// The watch showed an object.
    pub(super) fn event(&self) {
        self.events.inc();
    }

    /// The watch ended early.
    pub(super) fn ended_early(&self, reason: &'static str) {
        self.interruptions.get_or_create(&Reason { reason }).inc();
    }
}
