//! The ReplicaCounts whose status may need a write.

use std::sync::{Arc, OnceLock};
use std::time::Duration;

use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use replica_count_core::target::Target;
use tokio::time::Instant;

use crate::kubernetes::replica_count::ObjectKey;
use crate::store::Kept;
use crate::work::Work;

/// How long a status waits for more changes: a drift is usually repaired sooner, and then is one write.
const DEBOUNCE: Duration = Duration::from_millis(300);

/// The objects that may need a write.
#[derive(Debug, Default)]
pub struct Statuses {
    pub(super) work: Work<ObjectKey>,
    kept: OnceLock<KeptObjects>,
    /// The metrics.
    pub metrics: StatusMetrics,
}

/// The objects of the store.
struct KeptObjects(Arc<Kept>);

impl std::fmt::Debug for KeptObjects {
    fn fmt(&self, formatter: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        formatter.write_str("KeptObjects")
    }
}

/// Metrics of statuses.
#[derive(Clone, Debug, Default)]
pub struct StatusMetrics {
    pub(super) writes: Counter,
    pub(super) failures: Counter,
}

impl StatusMetrics {
    /// Registers the metrics.
    pub fn register(&self, registry: &mut Registry) {
        registry.register("status_writes", "Writes of the status of ReplicaCounts", self.writes.clone());
        registry.register(
            "status_write_failures",
            "Writes of the status of ReplicaCounts that failed",
            self.failures.clone(),
        );
    }
}

impl Statuses {
    /// Begins to mark the objects of targets.
    pub(super) fn start(&self, kept: Arc<Kept>) {
        // It is started once.
        let _ = self.kept.set(KeptObjects(kept));
    }

    /// Marks an object.
    pub fn mark_object(&self, key: ObjectKey) {
        self.work.mark_at(key, (Instant::now() + DEBOUNCE).into_std());
    }

    /// Marks the objects of a target.
    pub fn mark(&self, target: &Target) {
        let Some(KeptObjects(kept)) = self.kept.get() else { return };
        for key in kept.objects_of(&target.clone().into()) {
            self.mark_object(key);
        }
    }
}
