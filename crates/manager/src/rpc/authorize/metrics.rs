//! Metrics of authorization.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// Metrics of authorization. Clones share their counts.
#[derive(Clone, Debug)]
pub(super) struct AuthorizationMetrics {
    answers: Family<ResultLabels, Counter>,
    pub(super) cache_hits: Counter,
    pub(super) cached_answers: Gauge,
    pub(super) review_seconds: Histogram,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ResultLabels {
    result: &'static str,
}

pub(super) const ALLOWED: &str = "allowed";
pub(super) const DENIED: &str = "denied";
/// Kubernetes could not be asked.
pub(super) const FAILED: &str = "failed";

impl AuthorizationMetrics {
    pub(super) fn new() -> Self {
        Self {
            answers: Family::default(),
            cache_hits: Counter::default(),
            cached_answers: Gauge::default(),
            // From 1 ms to 4 s: the deadline is 3 s.
            review_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 13)),
        }
    }

    /// Registers the metrics as `authorization_…`. Every result is shown from the start, as 0.
    pub(super) fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("authorization");
        for result in [ALLOWED, DENIED, FAILED] {
            self.answers.get_or_create_owned(&ResultLabels { result });
        }
        registry.register(
            "answers",
            "Requests that were checked against the rules of Kubernetes, or failed because it could not be asked",
            self.answers.clone(),
        );
        registry.register(
            "cache_hits",
            "Requests that were checked without asking Kubernetes again",
            self.cache_hits.clone(),
        );
        registry.register(
            "cached_answers",
            "Answers of Kubernetes that are kept, at the last change",
            self.cached_answers.clone(),
        );
        registry.register_with_unit(
            "review",
            "Time of a question to Kubernetes, including the wait for its turn",
            Unit::Seconds,
            self.review_seconds.clone(),
        );
    }

    pub(super) fn answer(&self, result: &'static str) {
        self.answers.get_or_create_owned(&ResultLabels { result }).inc();
    }
}
