//! The watches of the server: one for each managed kind of workload, and one for autoscalers.

use std::sync::Arc;

use prometheus_client::registry::Registry;
use replica_count_core::kind::Kind;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;

use super::shared::Shared;
use super::tasks::Tasks;
use crate::kubernetes::watch::{Sink, Watch, WatchMetrics};
use crate::kubernetes::workload::{Deployment, OfKind, StatefulSet};
use crate::kubernetes::{autoscalers, guards as guards_path, replica_counts, workloads};
use crate::reconcile::gauges::watch_prefix;
use crate::reconcile::guard_sink::GuardSink;
use crate::reconcile::observed::{AutoscalerSink, WorkloadSink};
use crate::store::ReplicaCountSink;

/// Starts watches.
pub(super) struct Watches<'a> {
    pub(super) shared: &'a Shared,
    pub(super) registry: &'a mut Registry,
    pub(super) tasks: &'a mut Tasks,
    pub(super) runtime: &'a Handle,
    pub(super) shutdown: &'a CancellationToken,
}

impl Watches<'_> {
    /// Starts all watches.
    pub(super) fn start(mut self) {
        for kind in &self.shared.policy.scope.kinds {
            match kind {
                Kind::Deployment => self.start_workloads::<Deployment>(),
                Kind::StatefulSet => self.start_workloads::<StatefulSet>(),
            }
        }
        let Shared { cluster, marker, guards, guard_metrics, leadership, .. } = self.shared;
        let (cluster, guards) = (Arc::clone(cluster), Arc::clone(guards));
        if guards.is_on() {
            let (guards, metrics) = (Arc::clone(&guards), guard_metrics.clone());
            let sink = GuardSink { guards, marker: marker.clone(), leadership: leadership.clone(), metrics };
            self.start_one(guards_path(self.shared.namespace()), sink, "guard_");
        }
        let sink = AutoscalerSink { cluster, marker: marker.clone(), guards };
        self.start_one(autoscalers(self.shared.namespace()), sink, "autoscaler_");
    }

    /// Starts the watch of the store. It does not wait for long when the API server knows ReplicaCounts again.
    pub(super) fn start_replica_counts(&mut self, sink: ReplicaCountSink) {
        let metrics = WatchMetrics::default();
        metrics.register(self.registry, "store_");
        let (client, path) = (self.shared.client.clone(), replica_counts(self.shared.namespace()));
        let shutdown = self.shutdown.clone();
        self.tasks.spawn_on(self.runtime, "the watch of replicacounts", async move {
            while !shutdown.is_cancelled() {
                let (client, path, metrics) = (client.clone(), path.clone(), metrics.clone());
                let watch = Watch { client, path, sink: sink.clone(), metrics };
                tokio::select! {
                    () = watch.run(shutdown.clone()) => {}
                    () = sink.restart() => {}
                }
            }
        });
    }

    fn start_workloads<K: OfKind>(&mut self) {
        let Shared { cluster, records, marker, policy, guards, .. } = self.shared;
        let (cluster, records, policy) = (Arc::clone(cluster), Arc::clone(records), Arc::clone(policy));
        let sink = WorkloadSink::<K>::new(cluster, records, marker.clone(), policy, Arc::clone(guards));
        self.start_one(workloads(K::KIND, self.shared.namespace()), sink, &watch_prefix(K::KIND));
    }

    fn start_one(&mut self, path: String, sink: impl Sink, prefix: &str) {
        let metrics = WatchMetrics::default();
        metrics.register(self.registry, prefix);
        let name = format!("the watch of {}", sink.watched());
        let watch = Watch { client: self.shared.client.clone(), path, sink, metrics };
        self.tasks.spawn_on(self.runtime, name, watch.run(self.shutdown.clone()));
    }
}
