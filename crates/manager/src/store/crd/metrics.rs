//! The metrics of writes of ReplicaCounts.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

use crate::store::error::{BackendReason, StoreError};

const FAILURES: [&str; 5] = ["busy", "no_namespace", "refused", "unavailable", "uncertain"];

/// Why a change failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct FailureLabels {
    reason: &'static str,
}

/// The metrics of the store. Clones share their counts.
#[derive(Clone, Debug)]
pub(super) struct CrdMetrics {
    commits: Counter,
    failures: Family<FailureLabels, Counter>,
    /// Requests that were repeated, because somebody else was faster or there was no answer.
    pub(super) repeats: Counter,
    commit_seconds: Histogram,
}

impl CrdMetrics {
    pub(super) fn new() -> Self {
        Self {
            commits: Counter::default(),
            failures: Family::default(),
            repeats: Counter::default(),
            commit_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 14)),
        }
    }

    /// Counts a change that took so many seconds. One that the rules of settings refuse is not a failure.
    pub(super) fn ended<T>(&self, outcome: &Result<T, StoreError>, seconds: f64) {
        match outcome.as_ref().map_err(StoreError::backend_reason) {
            Ok(_) => {
                self.commits.inc();
                self.commit_seconds.observe(seconds);
            }
            Err(None) => {}
            Err(Some(reason)) => {
                let reason = match reason {
                    BackendReason::NoNamespace => "no_namespace",
                    BackendReason::Refused => "refused",
                    BackendReason::Uncertain => "uncertain",
                    BackendReason::Busy | BackendReason::Full | BackendReason::TooMany => "busy",
                    BackendReason::Unavailable | BackendReason::Unread | BackendReason::Closed => {
                        "unavailable"
                    }
                };
                self.failures.get_or_create(&FailureLabels { reason }).inc();
            }
        }
    }

    /// Registers the metrics.
    pub(super) fn register(&self, registry: &mut Registry) {
        for reason in FAILURES {
            self.failures.get_or_create_owned(&FailureLabels { reason });
        }
        registry.register("commits", "Changes that the API server has stored", self.commits.clone());
        registry.register("commit_failures", "Changes that failed", self.failures.clone());
        registry.register("commit_repeats", "Requests that were repeated for a change", self.repeats.clone());
        registry.register_with_unit(
            "commit",
            "Time until the API server had stored a change",
            Unit::Seconds,
            self.commit_seconds.clone(),
        );
    }
}
