//! The observed side: objects from the watches update the cluster and mark the affected targets.

use std::marker::PhantomData;
use std::sync::Arc;

use replica_count_core::policy::Policy;
use replica_count_core::target::Target;
use tokio::time::Instant;
use tracing::{error, info, warn};

use super::marker::Marker;
use super::records::Records;
use crate::cluster::{Cluster, Watched};
use crate::guards::Guards;
use crate::kubernetes::MalformedObject;
use crate::kubernetes::autoscaler::HorizontalPodAutoscaler;
use crate::kubernetes::watch::Sink;
use crate::kubernetes::workload::OfKind;

/// Receives the workloads of a kind.
pub struct WorkloadSink<K> {
    cluster: Arc<Cluster>,
    records: Arc<Records>,
    marker: Marker,
    policy: Arc<Policy>,
    guards: Arc<Guards>,
    kind: PhantomData<fn() -> K>,
}

impl<K: OfKind> WorkloadSink<K> {
    const WATCHED: Watched = Watched::Workloads(K::KIND);

    /// Creates a sink that marks targets with `marker`.
    pub fn new(
        cluster: Arc<Cluster>,
        records: Arc<Records>,
        marker: Marker,
        policy: Arc<Policy>,
        guards: Arc<Guards>,
    ) -> Self {
        Self { cluster, records, marker, policy, guards, kind: PhantomData }
    }
}

impl<K: OfKind> Sink for WorkloadSink<K> {
    type Object = K;

    fn watched(&self) -> &'static str {
        Self::WATCHED.resource()
    }

    fn begin_listing(&self) {
        self.cluster.begin_listing(K::KIND);
    }

    fn apply(&self, object: K) -> Result<(), MalformedObject> {
        let (target, observed) = object.into().into_observed(K::KIND)?;
        self.cluster.insert(target.clone(), observed);
        if self.marker.mark(&target) {
            self.guards.mark_without_guard(target.namespace());
        }
        Ok(())
    }

    fn delete(&self, object: K) -> Result<(), MalformedObject> {
        let (target, observed) = object.into().into_observed(K::KIND)?;
        self.cluster.remove(&target, &observed.uid);
        self.marker.mark(&target);
        Ok(())
    }

    fn end_listing(&self, _version: &str) -> usize {
        self.cluster.end_listing(K::KIND);
        // There are no events for workloads that the listing did not contain. The others were marked with their events.
        self.marker.mark_absent(K::KIND, &self.cluster);
        self.cluster.view().count(Self::WATCHED)
    }

    fn live(&self) {
        self.cluster.set_live(Self::WATCHED);
    }

    fn stale(&self, since: Instant) {
        self.cluster.set_stale(Self::WATCHED, since);
    }

    fn refused(&self, reason: &str, is_first: bool) {
        self.cluster.set_refused(Self::WATCHED);
        if !is_first {
            return;
        }
        let managed = self.marker.store.read(|settings| self.policy.scope.count(settings, K::KIND));
        let (watched, kind) = (self.watched(), K::KIND);
        if managed > 0 {
            error!(watched, %reason, managed, "watch refused: grant the permission; counts of {kind}s are not enforced");
        } else {
            info!(watched, %reason, "watch refused: the server continues without {kind}s");
        }
    }

    fn recovered(&self) {
        for target in self.records.record_reconnect(K::KIND) {
            self.marker.work.mark(target);
        }
    }
}

/// Receives the autoscalers.
pub struct AutoscalerSink {
    /// Where autoscalers are stored.
    pub cluster: Arc<Cluster>,
    /// Marks their targets.
    pub marker: Marker,
    /// The guards, which keep no count that an autoscaler changes.
    pub guards: Arc<Guards>,
}

impl AutoscalerSink {
    fn mark(&self, targets: &[Target]) {
        for target in targets {
            if self.marker.is_managed(target) {
                self.guards.mark(target.namespace());
            }
            self.marker.mark(target);
        }
    }
}

impl Sink for AutoscalerSink {
    type Object = HorizontalPodAutoscaler;

    fn watched(&self) -> &'static str {
        Watched::Autoscalers.resource()
    }

    fn begin_listing(&self) {
        self.cluster.begin_autoscalers_listing();
    }

    fn apply(&self, object: HorizontalPodAutoscaler) -> Result<(), MalformedObject> {
        let (uid, autoscaler) = object.into_autoscaler()?;
        self.mark(&self.cluster.insert_autoscaler(&uid, autoscaler));
        Ok(())
    }

    fn delete(&self, object: HorizontalPodAutoscaler) -> Result<(), MalformedObject> {
        let (uid, _) = object.into_autoscaler()?;
        self.mark(&self.cluster.insert_autoscaler(&uid, None));
        Ok(())
    }

    fn end_listing(&self, _version: &str) -> usize {
        self.mark(&self.cluster.end_autoscalers_listing());
        self.guards.mark_all();
        self.cluster.view().count(Watched::Autoscalers)
    }

    fn live(&self) {
        self.cluster.set_live(Watched::Autoscalers);
    }

    fn stale(&self, since: Instant) {
        self.cluster.set_stale(Watched::Autoscalers, since);
    }

    fn refused(&self, reason: &str, is_first: bool) {
        self.cluster.set_refused(Watched::Autoscalers);
        if is_first {
            let watched = self.watched();
            warn!(watched, %reason, "watch refused: grant the permission; the server continues without autoscalers");
        }
    }

    /// The watches of workloads already report that the API server is reachable again.
    fn recovered(&self) {}
}

#[cfg(test)]
mod tests {
    use std::fs;

    use serde_json::json;
    use tempfile::TempDir;

    use super::*;
    use crate::kubernetes::workload::Deployment;
    use crate::store::Store;
    use crate::work::Work;

    fn deployment(name: &str) -> Deployment {
        let metadata = json!({ "namespace": "shop", "name": name, "uid": name, "resourceVersion": "1" });
        serde_json::from_value(json!({ "metadata": metadata, "spec": { "replicas": 1 } })).unwrap()
    }

    /// Takes all marked targets, and ends the work on them.
    async fn marked(work: &Work) -> Vec<String> {
        let mut names = Vec::new();
        while work.depth() > 0 {
            let target = work.next().await;
            work.done(&target);
            names.push(target.name().to_owned());
        }
        names.sort();
        names
    }

    #[tokio::test]
    async fn a_listing_marks_each_managed_workload_once() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("replicas.json");
        let setting = |kind, name| json!({ "kind": kind, "namespace": "shop", "name": name, "replicas": 1 });
        let settings = ["gone", "listed", "missing"].map(|name| setting("Deployment", name));
        let settings = [&settings[..], &[setting("StatefulSet", "other")]].concat();
        fs::write(&path, json!(settings).to_string()).unwrap();
        let (store, _committer) = Store::open_file(&path).unwrap();
        let (cluster, work) = (Arc::<Cluster>::default(), Arc::<Work>::default());
        let marker = Marker { store, work: Arc::clone(&work) };
        let sink =
            WorkloadSink::<Deployment>::new(cluster, Arc::default(), marker, Arc::default(), Arc::default());
        for (listed, at_once, at_end) in [
            (&["gone", "listed", "unmanaged"][..], &["gone", "listed"][..], &["missing"][..]),
            (&["listed"], &["listed"], &["gone", "missing"]),
        ] {
            sink.begin_listing();
            for name in listed {
                sink.apply(deployment(name)).unwrap();
            }
            assert_eq!(marked(&work).await, at_once);
            assert_eq!(sink.end_listing("1"), listed.len());
            assert_eq!(marked(&work).await, at_end);
        }
    }
}
