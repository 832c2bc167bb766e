//! Gauges that are computed on each scrape instead of being kept up to date.

use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::gauge::ConstGauge;
use replica_count_core::kind::Kind;
use replica_count_core::policy::Policy;
use tokio::time::Instant;

use super::records::{ConflictCounts, Records};
use crate::cluster::{Cluster, Freshness, View, Watched};
use crate::guards::Guards;
use crate::guards::summary::Summary;
use crate::store::Store;
use crate::work::Work;

/// Gauges that are computed on each scrape.
#[derive(Debug)]
pub struct Gauges {
    /// The desired state.
    pub store: Store,
    /// The observed state.
    pub cluster: Arc<Cluster>,
    /// The records of managed targets.
    pub records: Arc<Records>,
    /// The queue.
    pub work: Arc<Work>,
    /// The server-wide policy.
    pub policy: Arc<Policy>,
    /// What the API server keeps.
    pub guards: Arc<Guards>,
    /// When the server started.
    pub started: Instant,
}

impl Gauges {
    /// The number of managed targets whose kind the API server refuses to show.
    fn unreadable(&self) -> usize {
        let refused: Vec<Kind> = {
            let view = self.cluster.view();
            let is_refused = |kind: &Kind| view.freshness(Watched::Workloads(*kind)) == Freshness::Refused;
            self.policy.scope.kinds.iter().copied().filter(is_refused).collect()
        };
        let count = |kind: &Kind| self.store.read(|settings| self.policy.scope.count(settings, *kind));
        refused.iter().map(count).sum()
    }

    /// The number of objects of a watch, and the age of the observed state in seconds.
    fn watch(&self, view: &View<'_>, watched: Watched, now: Instant) -> (f64, f64) {
        (float(view.count(watched)), view.freshness(watched).age(self.started, now).as_secs_f64())
    }
}

impl Collector for Gauges {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut show = |name: &str, help: &str, value: f64| -> Result<(), std::fmt::Error> {
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        let now = Instant::now();
        let ConflictCounts { autoscaled, contested, steady } = self.records.count_conflicts();
        show("queued_targets", "Targets that wait for work or are worked on.", float(self.work.depth()))?;
        show(
            "queue_oldest_seconds",
            "How long the target that has been due longest has waited for work.",
            self.work.lag().as_secs_f64(),
        )?;
        show("contested_targets", "Targets that somebody keeps changing.", float(contested))?;
        show(
            "steady_conflicts",
            "Managed targets whose count somebody changes again and again, at any rate.",
            float(steady),
        )?;
        show("autoscaled_targets", "Managed targets that an autoscaler targets.", float(autoscaled))?;
        show(
            "unreadable_targets",
            "Managed targets of kinds that the API server refuses to show: a permission is missing.",
            float(self.unreadable()),
        )?;
        let (workloads, autoscalers) = {
            let view = self.cluster.view();
            let of_kind = |kind: &Kind| (*kind, self.watch(&view, Watched::Workloads(*kind), now));
            let workloads: Vec<_> = self.policy.scope.kinds.iter().map(of_kind).collect();
            (workloads, self.watch(&view, Watched::Autoscalers, now))
        };
        for (kind, (count, age)) in workloads {
            let prefix = watch_prefix(kind);
            show(kind.resource(), &format!("{kind}s in the cluster."), count)?;
            show(
                &format!("{prefix}watch_stale_seconds"),
                "Age of what is known while the watch is broken, or time since the start while nothing is known.",
                age,
            )?;
        }
        if self.guards.is_on() {
            show_guards(&mut show, &Summary::of(&self.guards))?;
        }
        show("autoscalers", "Autoscalers of workloads in the cluster.", autoscalers.0)?;
        show("autoscaler_watch_stale_seconds", "The same for the watch of autoscalers.", autoscalers.1)
    }
}

fn show_guards(
    show: &mut impl FnMut(&str, &str, f64) -> Result<(), std::fmt::Error>,
    summary: &Summary,
) -> Result<(), std::fmt::Error> {
    let Summary { guarded, active, inactive, suspended, contested, oldest_change, .. } = *summary;
    show("guarded_targets", "Targets whose count the API server keeps.", float(guarded))?;
    show("guard_active_namespaces", "Namespaces whose guard is in force.", float(active))?;
    show("guard_inactive_namespaces", "Namespaces whose guard is not in force.", float(inactive))?;
    show("guard_suspended_namespaces", "Namespaces whose guard somebody has suspended.", float(suspended))?;
    show("guard_contested_namespaces", "Namespaces whose guard somebody keeps changing.", float(contested))?;
    show(
        "guard_oldest_change_seconds",
        "Age of the oldest change of a setting that its guard does not have yet.",
        oldest_change.as_secs_f64(),
    )
}

/// The prefix of a watch's metrics. The watch of Deployments has none, because it was the first.
pub fn watch_prefix(kind: Kind) -> String {
    if kind == Kind::default() { String::new() } else { format!("{}_", kind.singular()) }
}

#[allow(clippy::cast_precision_loss, reason = "a count of objects is far below 2^52")]
fn float(count: usize) -> f64 {
    count as f64
}
