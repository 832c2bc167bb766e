//! What is counted about the watch and the repairs. Labels are fixed words, never texts of errors.

use std::sync::Arc;
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeLabelSet, EncodeMetric};
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use tokio::time::Instant;

use crate::cluster::{Cluster, Watched};
use crate::kubernetes::scale::WriteError;
use crate::reconcile::records::Records;
use crate::reconcile::work::Work;

/// A counter by reason.
#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct Reason {
    reason: &'static str,
}

/// What is counted about drift and its repair.
#[derive(Clone, Debug)]
pub struct ReconcileMetrics {
    drifts: Counter,
    repairs: Counter,
    settled: Counter,
    applied: Counter,
    failures: Family<Reason, Counter>,
    write_seconds: Histogram,
}

impl Default for ReconcileMetrics {
    fn default() -> Self {
        Self {
            drifts: Counter::default(),
            repairs: Counter::default(),
            settled: Counter::default(),
            applied: Counter::default(),
            failures: Family::default(),
            write_seconds: Histogram::new(exponential_buckets(0.001, 2.0, 13)),
        }
    }
}

impl ReconcileMetrics {
    /// Makes them show.
    pub fn register(&self, registry: &mut Registry) {
        for reason in WriteError::REASONS {
            self.failures.get_or_create_owned(&Reason { reason });
        }
        registry.register("drifts", "Drifts that were seen, repaired or not", self.drifts.clone());
        registry.register("repairs", "Drifts that were repaired", self.repairs.clone());
        registry.register(
            "drifts_settled",
            "Drifts that ended otherwise than by an answered repair",
            self.settled.clone(),
        );
        registry.register("settings_applied", "Settings that were put into effect", self.applied.clone());
        registry.register("write_failures", "Writes that failed, by reason", self.failures.clone());
        registry.register("write_seconds", "Time that a write took", self.write_seconds.clone());
    }

    /// A drift was seen for the first time.
    pub fn drifted(&self) {
        self.drifts.inc();
    }

    /// A drift was repaired.
    pub fn repaired(&self, took: Duration) {
        self.repairs.inc();
        self.write_seconds.observe(took.as_secs_f64());
    }

    /// A drift ended otherwise than by an answered repair.
    pub fn settled(&self) {
        self.settled.inc();
    }

    /// A setting was put into effect.
    pub fn applied(&self, took: Duration) {
        self.applied.inc();
        self.write_seconds.observe(took.as_secs_f64());
    }

    /// A write failed.
    pub fn failed(&self, reason: &'static str) {
        self.failures.get_or_create(&Reason { reason }).inc();
    }
}

/// What is read off when someone asks, instead of being kept up to date.
#[derive(Debug)]
pub struct Readings {
    /// What the watches have shown.
    pub cluster: Arc<Cluster>,
    /// What happened.
    pub records: Arc<Records>,
    /// What waits.
    pub work: Arc<Work>,
    /// When the server started.
    pub started: Instant,
}

impl Collector for Readings {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let now = Instant::now();
        let [deployments, autoscalers] = {
            let view = self.cluster.view();
            [Watched::Deployments, Watched::Autoscalers].map(|watched| {
                (float(view.known(watched)), view.freshness(watched).age(self.started, now).as_secs_f64())
            })
        };
        let (autoscaled, contested) = self.records.count();
        let readings = [
            ("deployments", "Deployments in the cluster.", deployments.0),
            ("queued_targets", "Targets that wait for work or are worked on.", float(self.work.depth())),
            ("contested_targets", "Targets that somebody keeps drifting.", float(contested)),
            ("autoscaled_targets", "Managed targets that an autoscaler targets.", float(autoscaled)),
            (
                "watch_stale_seconds",
                "Age of what is known while the watch is broken, or time since the start while nothing is known.",
                deployments.1,
            ),
            ("autoscalers", "Autoscalers of Deployments in the cluster.", autoscalers.0),
            ("autoscaler_watch_stale_seconds", "The same of the watch of autoscalers.", autoscalers.1),
        ];
        for (name, help, value) in readings {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)?;
        }
        Ok(())
    }
}

#[allow(clippy::cast_precision_loss, reason = "a count of objects is far below 2^52")]
fn float(count: usize) -> f64 {
    count as f64
}
