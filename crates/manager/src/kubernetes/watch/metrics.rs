//! Metrics of a watch. Labels have fixed values, never error messages.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;

use super::error::WatchError;

/// The label of a counter by reason.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Metrics of a watch.
#[derive(Clone, Debug, Default)]
pub struct WatchMetrics {
    events: Counter,
    interruptions: Family<Reason, Counter>,
}

impl WatchMetrics {
    /// Registers the metrics, under names that begin with `prefix`.
    ///
    /// Reasons that have not occurred yet are shown as 0, so that the first occurrence is an increase.
    pub fn register(&self, registry: &mut Registry, prefix: &str) {
        for reason in WatchError::REASONS {
            self.interruptions.get_or_create_owned(&Reason { reason });
        }
        registry.register(
            format!("{prefix}watch_events"),
            "Objects that this watch received; without a word before it, it is that of Deployments",
            self.events.clone(),
        );
        registry.register(
            format!("{prefix}watch_interruptions"),
            "Times that this watch ended early",
            self.interruptions.clone(),
        );
    }

    /// Counts an object from the watch.
    pub(super) fn event(&self) {
        self.events.inc();
    }

    /// Counts a watch that ended early.
    pub(super) fn error(&self, reason: &'static str) {
        self.interruptions.get_or_create(&Reason { reason }).inc();
    }
}
