//! The metrics of the committer: whether changes reach the disk, how fast, and how many share a write.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::{Registry, Unit};

/// The metrics of the settings file. Clones share their counts.
#[derive(Clone, Debug)]
pub(super) struct FileMetrics {
    pub(super) commits: Counter,
    pub(super) commit_failures: Family<FailureLabels, Counter>,
    pub(super) commit_seconds: Histogram,
    pub(super) commit_changes: Histogram,
}

/// The reasons for failed commits.
pub(super) const FULL: &str = "full";
pub(super) const UNAVAILABLE: &str = "unavailable";
pub(super) const UNCERTAIN: &str = "uncertain";
const FAILURES: [&str; 3] = [FULL, UNAVAILABLE, UNCERTAIN];

/// Why a commit failed.
#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
pub(super) struct FailureLabels {
    pub(super) reason: &'static str,
}

impl FileMetrics {
    pub(super) fn new() -> Self {
        Self {
            commits: Counter::default(),
            commit_failures: Family::default(),
            // From 100 µs (a disk with a power-protected cache) to 13 s (a failing disk).
            commit_seconds: Histogram::new(exponential_buckets(0.0001, 2.0, 18)),
            commit_changes: Histogram::new(exponential_buckets(1.0, 2.0, 13)),
        }
    }

    /// Registers the metrics.
    pub(super) fn register(&self, registry: &mut Registry) {
        // Reasons that have not occurred yet are shown as 0, so that the first occurrence is an increase.
        for reason in FAILURES {
            self.commit_failures.get_or_create_owned(&FailureLabels { reason });
        }
        registry.register("commits", "Durable writes of the settings file", self.commits.clone());
        registry.register(
            "commit_failures",
            "Writes of the settings file that failed",
            self.commit_failures.clone(),
        );
        registry.register_with_unit(
            "commit",
            "Time to write the settings file and sync it and its folder",
            Unit::Seconds,
            self.commit_seconds.clone(),
        );
        registry.register(
            "commit_changes",
            "Changes that shared one write of the settings file",
            self.commit_changes.clone(),
        );
    }
}
