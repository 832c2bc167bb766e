//! Metrics of the election.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use crate::kubernetes::lease::LeaseError;

/// Metrics of the election. Clones share their counts.
#[derive(Clone, Debug, Default)]
pub(super) struct LeaderMetrics {
    is_leader: Gauge,
    is_held: Gauge,
    terms: Counter,
    failures: Family<ReasonLabels, Counter>,
    is_failing: Arc<AtomicBool>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

const FORBIDDEN: &str = "forbidden";
const DEADLINE: &str = "deadline";
const FAILED: &str = "failed";

impl LeaderMetrics {
    /// Registers the metrics. Every reason is shown from the start, as 0.
    pub(super) fn register(&self, registry: &mut Registry) {
        for reason in [FORBIDDEN, DEADLINE, FAILED] {
            self.failures.get_or_create_owned(&ReasonLabels { reason });
        }
        registry.register(
            "leader",
            "1 while this server holds the lease and enforces, else 0",
            self.is_leader.clone(),
        );
        registry.register(
            "lease_held",
            "1 while this server or another one holds the lease, as far as this one knows, else 0",
            self.is_held.clone(),
        );
        registry.register("leader_terms", "How often this server has begun to enforce", self.terms.clone());
        registry.register(
            "lease_failures",
            "Requests about the lease without a known outcome",
            self.failures.clone(),
        );
    }

    pub(super) fn begin(&self) {
        self.is_leader.set(1);
        self.terms.inc();
    }

    pub(super) fn end(&self) {
        self.is_leader.set(0);
    }

    pub(super) fn show_held(&self, is_held: bool) {
        self.is_held.set(is_held.into());
    }

    /// Counts a failure. Returns whether the request before had failed, too.
    pub(super) fn record(&self, error: Option<&LeaseError>) -> bool {
        if let Some(error) = error {
            let reason = match error {
                LeaseError::Forbidden => FORBIDDEN,
                LeaseError::Deadline => DEADLINE,
                LeaseError::Failed(_) => FAILED,
            };
            self.failures.get_or_create_owned(&ReasonLabels { reason }).inc();
        }
        self.is_failing.swap(error.is_some(), Ordering::Relaxed)
    }
}
