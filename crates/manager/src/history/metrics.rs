//! Metrics of the history and of those who watch.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use replica_count_core::history::History;

/// Metrics of the history. Clones share their values.
#[derive(Clone, Debug, Default)]
pub struct HistoryMetrics {
    entries: Gauge,
    bytes: Gauge,
    pub(super) write_failures: Counter,
    /// Watchers.
    pub(crate) watchers: Gauge,
    /// Streams that were ended because the client read too slowly.
    pub(crate) too_slow: Counter,
}

impl HistoryMetrics {
    /// Registers the metrics.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("history_events", "Events that the history has in memory", self.entries.clone());
        registry.register(
            "history_bytes",
            "About how many bytes of memory the events of the history take",
            self.bytes.clone(),
        );
        registry.register(
            "history_write_failures",
            "Writes of the history file that failed, or were not made because the disk has no room besides the settings",
            self.write_failures.clone(),
        );
        registry.register("watch_streams", "Streams of WatchDeployments", self.watchers.clone());
        registry.register(
            "watch_streams_too_slow",
            "Streams of WatchDeployments that ended because the client missed events",
            self.too_slow.clone(),
        );
    }

    pub(super) fn show(&self, history: &History) {
        self.entries.set(i64::try_from(history.len()).unwrap_or(i64::MAX));
        self.bytes.set(i64::try_from(history.bytes()).unwrap_or(i64::MAX));
    }
}
