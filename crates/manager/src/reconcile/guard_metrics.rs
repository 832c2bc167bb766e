//! Metrics of the guard.

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;

/// Metrics of the guard. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct GuardMetrics {
    /// Guards that somebody else changed or deleted.
    pub drifts: Counter,
    /// Guards that were written.
    pub writes: Counter,
    /// Writes of guards that failed.
    pub failures: Counter,
}

impl GuardMetrics {
    /// Registers the metrics.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("guard");
        registry.register("drifts", "Guards that somebody else changed or deleted", self.drifts.clone());
        registry.register("writes", "Guards that were written", self.writes.clone());
        registry.register("write_failures", "Writes of guards that failed", self.failures.clone());
    }
}
