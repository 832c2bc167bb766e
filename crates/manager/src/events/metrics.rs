//! Metrics of the Events of Kubernetes.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// Metrics of the Events of Kubernetes. Clones share their values.
#[derive(Clone, Debug, Default)]
pub struct EventMetrics {
    pub(super) writes: Counter,
    pub(super) failures: Counter,
    pub(super) dropped: Counter,
}

impl EventMetrics {
    /// Registers the metrics.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("kubernetes_event_writes", "Writes of Events of Kubernetes", self.writes.clone());
        registry.register("kubernetes_event_write_failures", "Those that failed", self.failures.clone());
        registry.register(
            "kubernetes_events_dropped",
            "What happened and is in no Event of Kubernetes, because it was too much or could not be written",
            self.dropped.clone(),
        );
    }
}
