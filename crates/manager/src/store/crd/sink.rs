//! The receiver of the watch of ReplicaCounts.

use std::sync::Arc;

use tokio::time::Instant;

use super::kept::Kept;
use crate::kubernetes::MalformedObject;
use crate::kubernetes::replica_count::ReplicaCount;
use crate::kubernetes::watch::Sink;

/// Receives ReplicaCounts. Clones share what they know.
#[derive(Clone)]
pub struct ReplicaCountSink(pub(super) Arc<Kept>);

impl ReplicaCountSink {
    /// Waits until the watch should be started again at once, because the API server knows ReplicaCounts again.
    pub async fn restart(&self) {
        self.0.restart.notified().await;
    }
}

impl Sink for ReplicaCountSink {
    type Object = ReplicaCount;

    fn watched(&self) -> &'static str {
        "replicacounts"
    }

    fn begin_listing(&self) {
        self.0.begin_listing();
    }

    fn apply(&self, object: ReplicaCount) -> Result<(), MalformedObject> {
        self.0.observe(&object.check()?);
        Ok(())
    }

    fn delete(&self, object: ReplicaCount) -> Result<(), MalformedObject> {
        self.0.remove(&object.check()?);
        Ok(())
    }

    fn end_listing(&self, version: &str) -> usize {
        self.0.end_listing(version.parse().unwrap_or_default())
    }

    fn live(&self) {
        self.0.live();
    }

    /// What is known stays in force: the watches of workloads show an outage, too.
    fn stale(&self, _since: Instant) {}

    fn refused(&self, reason: &str, _is_first: bool) {
        self.0.refused(reason);
    }

    fn recovered(&self) {}
}
