//! Metrics of drift and repairs. Labels have fixed values, never error messages.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, NativeHistogramConfig, exponential_buckets};
use prometheus_client::registry::Registry;
use replica_count_core::event::{Event, EventKind};
use replica_count_core::failures::Failure;

/// How many buckets a native histogram may have; with more, they become wider.
const MAX_NATIVE_BUCKETS: usize = 160;

/// The label of a counter by reason.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// Metrics of drift and repairs.
#[derive(Clone, Debug)]
pub struct ReconcileMetrics {
    drifts: Counter,
    pods_lost: Counter,
    by_another_server: Counter,
    repairs: Counter,
    resolved: Counter,
    applied: Counter,
    failures: Family<Reason, Counter>,
    write_seconds: Histogram,
    repair_seconds: Histogram,
    unreported: Counter,
}

impl Default for ReconcileMetrics {
    fn default() -> Self {
        Self {
            drifts: Counter::default(),
            pods_lost: Counter::default(),
            by_another_server: Counter::default(),
            repairs: Counter::default(),
            resolved: Counter::default(),
            applied: Counter::default(),
            failures: Family::default(),
            write_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 13)),
            // A contested target waits for minutes.
            repair_seconds: Histogram::new_classic_and_native(
                exponential_buckets(0.001, 2.0, 20),
                NativeHistogramConfig::default().max_buckets(MAX_NATIVE_BUCKETS),
            ),
            unreported: Counter::default(),
        }
    }
}

impl ReconcileMetrics {
    /// Registers the metrics.
    pub fn register(&self, registry: &mut Registry) {
        for reason in Failure::ALL.map(Failure::as_str) {
            self.failures.get_or_create_owned(&Reason { reason });
        }
        registry.register("drifts", "Drifts that were seen, repaired or not", self.drifts.clone());
        registry.register(
            "another_server_drifts",
            "Drifts by another replica-count-manager: run one for each cluster and store",
            self.by_another_server.clone(),
        );
        registry.register("repairs", "Drifts that were repaired", self.repairs.clone());
        registry.register(
            "drifts_settled",
            "Drifts that ended without an acknowledged repair: somebody put the count back, a write landed without an \
             answer, another drift or a new setting took their place, or the count is no longer managed",
            self.resolved.clone(),
        );
        registry.register(
            "pods_lost",
            "Pods that drifts have cost, as far as the status of workloads shows",
            self.pods_lost.clone(),
        );
        registry.register("settings_applied", "Settings that were put into effect", self.applied.clone());
        registry.register("write_failures", "Writes that failed", self.failures.clone());
        registry.register("write_seconds", "Time that a successful write took", self.write_seconds.clone());
        registry.register(
            "drift_repair_seconds",
            "Time from when a drift was first seen to its acknowledged repair, with every delay",
            self.repair_seconds.clone(),
        );
        registry.register(
            "unreported_events",
            "Events that were neither logged nor remembered, because too many waited or the server was ending",
            self.unreported.clone(),
        );
    }

    /// Counts an event that is not logged.
    pub(super) fn unreported(&self) {
        self.unreported.inc();
    }

    /// Counts an event.
    pub(super) fn count(&self, event: &Event) {
        match &event.kind {
            EventKind::Drifted { .. } => {
                self.drifts.inc();
            }
            EventKind::AnotherServer { .. } => {
                self.by_another_server.inc();
            }
            EventKind::Repaired { took, lasted, .. } => {
                self.repairs.inc();
                self.repair_seconds.observe(lasted.as_secs_f64());
                self.write_seconds.observe(took.as_secs_f64());
            }
            EventKind::Resolved { .. } => {
                self.resolved.inc();
            }
            EventKind::Applied { took, .. } => {
                self.applied.inc();
                self.write_seconds.observe(took.as_secs_f64());
            }
            EventKind::WriteFailed(failure) => {
                let reason = failure.failure.as_str();
                self.failures.get_or_create(&Reason { reason }).inc();
            }
            EventKind::PodsLost { more } => {
                self.pods_lost.inc_by(u64::from(*more));
            }
            EventKind::LateCost(_)
            | EventKind::Set { .. }
            | EventKind::HoldEnded { .. }
            | EventKind::Deleted { .. }
            | EventKind::EnforcementSet { .. }
            | EventKind::Contested { .. }
            | EventKind::Calmed
            | EventKind::SteadyConflict(_)
            | EventKind::SteadyConflictEnded
            | EventKind::Missing
            | EventKind::Autoscaled { .. } => {}
        }
    }
}
