//! Guards as the API server has them: what people change is told, and put back.

use std::sync::Arc;

use tokio::time::Instant;
use tracing::{debug, info, warn};

use super::guard_metrics::GuardMetrics;
use super::marker::Marker;
use crate::guards::{Change, Guards};
use crate::kubernetes::MalformedObject;
use crate::kubernetes::guard::ReplicaGuard;
use crate::kubernetes::watch::Sink;
use crate::leadership::Leadership;

/// Receives the guards.
pub struct GuardSink {
    /// What is known of them.
    pub guards: Arc<Guards>,
    /// Marks targets.
    pub marker: Marker,
    /// Who keeps them.
    pub leadership: Leadership,
    /// Counts drifts.
    pub metrics: GuardMetrics,
}

impl GuardSink {
    /// Whether a guard belongs to this server. Another release may have its own.
    fn is_ours(&self, object: &ReplicaGuard) -> bool {
        object.key().1 == self.guards.name()
    }

    fn changed(&self, object: &ReplicaGuard, change: &Change) {
        let (namespace, _) = object.key();
        let by = object.author().unwrap_or("unknown");
        match change {
            Change::None => return,
            // It is told by whoever keeps it.
            _ if self.leadership.term().is_none() => {}
            Change::Drift { by, is_contested } => {
                self.metrics.drifts.inc();
                let by = by.as_deref().unwrap_or("unknown");
                if *is_contested {
                    debug!(namespace, by, "the guard was changed");
                } else {
                    warn!(namespace, by, "the guard was changed: it is put back");
                }
            }
            // It may be gone with its namespace. That is known when it is put back.
            Change::Deleted => debug!(namespace, "the guard was deleted"),
            Change::Suspended => {
                warn!(namespace, by, "the guard is suspended, and nothing is repaired in this namespace");
            }
            Change::Resumed => info!(namespace, by, "the guard is no longer suspended"),
        }
        self.guards.mark(namespace);
        self.marker.mark_namespace(namespace);
    }
}

impl Sink for GuardSink {
    type Object = ReplicaGuard;

    fn watched(&self) -> &'static str {
        "replicaguards"
    }

    fn begin_listing(&self) {
        self.guards.begin_listing();
    }

    fn apply(&self, object: ReplicaGuard) -> Result<(), MalformedObject> {
        let object = object.check()?;
        if self.is_ours(&object) {
            let change = self.guards.observe(&object);
            self.changed(&object, &change);
        }
        Ok(())
    }

    fn delete(&self, object: ReplicaGuard) -> Result<(), MalformedObject> {
        let object = object.check()?;
        if self.is_ours(&object) {
            let change = self.guards.remove(&object);
            self.changed(&object, &change);
        }
        Ok(())
    }

    fn end_listing(&self, _version: &str) -> usize {
        let count = self.guards.end_listing();
        self.guards.mark_all();
        self.marker.mark_all();
        count
    }

    fn live(&self) {}

    fn stale(&self, _since: Instant) {
        self.guards.doubt_all();
    }

    fn refused(&self, reason: &str, is_first: bool) {
        self.guards.set_refused();
        if is_first {
            warn!(
                reason,
                "no guard: install its resources with the chart; the server watches and repairs instead"
            );
            self.marker.mark_all();
        }
    }

    /// Failed writes are tried again by the clock.
    fn recovered(&self) {}
}
