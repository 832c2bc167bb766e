//! What the parts of the server share, and how each part is made of it.

use std::sync::Arc;

use k8s_openapi::NamespaceResourceScope;
use kube::{Api, Client};
use prometheus_client::collector::Collector;
use prometheus_client::registry::Registry;
use replica_count_core::decide::Policy;
use replica_count_core::replicas::Replicas;
use replica_count_core::target::Target;
use tokio::sync::Mutex;
use tokio::time::Instant;
use tracing::warn;

use super::health::Health;
use crate::cluster::Cluster;
use crate::kubernetes::autoscaler::SlimAutoscaler;
use crate::kubernetes::deployment::SlimDeployment;
use crate::kubernetes::watch::metrics::WatchMetrics;
use crate::kubernetes::watch::{Followed, Watch};
use crate::net::tls::metrics::{CertificateMetrics, ConnectionMetrics};
use crate::reconcile::metrics::Readings;
use crate::reconcile::reconciler::Reconciler;
use crate::reconcile::records::Records;
use crate::reconcile::report::Report;
use crate::reconcile::work::Work;
use crate::rpc::in_flight::RequestMetrics;
use crate::rpc::service::Deployments;
use crate::server::args::ServeArgs;
use crate::store::Store;

/// What all parts of the server share.
pub(super) struct Shared {
    pub(super) store: Store,
    pub(super) cluster: Arc<Cluster>,
    pub(super) work: Arc<Work>,
    pub(super) records: Arc<Records>,
    pub(super) policy: Arc<Policy>,
    pub(super) client: Client,
}

/// What is counted about clients.
#[derive(Debug, Default)]
pub(super) struct PeerMetrics {
    pub(super) connections: ConnectionMetrics,
    pub(super) certificates: CertificateMetrics,
    pub(super) requests: RequestMetrics,
}

impl Shared {
    /// Makes everything stored due, and says what of it will never be enforced here.
    pub(super) fn begin(&self) {
        let managed: Vec<(Target, Replicas)> = self.store.read(|settings| {
            settings.iter().map(|(target, setting)| (target.clone(), setting.replicas)).collect()
        });
        for (target, desired) in managed {
            if let Err(reason) = self.policy.scope.check(target.namespace()) {
                warn!(%target, %reason, "stored but not enforced");
            }
            self.records.begin(target.clone(), desired);
            self.work.mark(target);
        }
    }

    /// What the store calls when a setting has changed.
    pub(super) fn marker(&self) -> impl Fn(&Target) + Send + 'static {
        let (store, records, work) = (self.store.clone(), Arc::clone(&self.records), Arc::clone(&self.work));
        move |target| {
            records.follow(target, store.get(target).map(|setting| setting.replicas));
            work.mark(target.clone());
        }
    }

    /// The watch of the Deployments.
    pub(super) fn watch(&self, namespace: Option<&str>, metrics: WatchMetrics) -> Watch<SlimDeployment> {
        let (records, work) = (Arc::clone(&self.records), Arc::clone(&self.work));
        let recovered = move || {
            for target in records.forgive_for_contact() {
                work.mark(target);
            }
        };
        self.watch_of(namespace, metrics, Box::new(recovered))
    }

    /// The watch of the autoscalers, by which nothing else is told that the API server is reached again.
    pub(super) fn watch_autoscalers(
        &self,
        namespace: Option<&str>,
        metrics: WatchMetrics,
    ) -> Watch<SlimAutoscaler> {
        self.watch_of(namespace, metrics, Box::new(|| ()))
    }

    fn watch_of<K: Followed<Scope = NamespaceResourceScope>>(
        &self,
        namespace: Option<&str>,
        metrics: WatchMetrics,
        recovered: Box<dyn Fn() + Send + Sync>,
    ) -> Watch<K> {
        let api: Api<K> = match namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let (store, work) = (self.store.clone(), Arc::clone(&self.work));
        let changed = move |target: Target| {
            if store.read(|settings| settings.contains_key(&target)) {
                work.mark(target);
            }
        };
        Watch { api, cluster: Arc::clone(&self.cluster), changed: Box::new(changed), recovered, metrics }
    }

    pub(super) fn reconciler(&self, report: Report) -> Reconciler {
        Reconciler {
            store: self.store.clone(),
            cluster: Arc::clone(&self.cluster),
            work: Arc::clone(&self.work),
            records: Arc::clone(&self.records),
            policy: Arc::clone(&self.policy),
            client: self.client.clone(),
            report,
        }
    }

    pub(super) fn service(&self, args: &ServeArgs) -> Deployments {
        Deployments {
            store: self.store.clone(),
            cluster: Arc::clone(&self.cluster),
            records: Arc::clone(&self.records),
            policy: Arc::clone(&self.policy),
            max_replicas: args.policy.max_replicas,
            client: self.client.clone(),
            lists: Mutex::default(),
        }
    }

    pub(super) fn health(&self) -> Health {
        Health { client: self.client.clone(), cluster: Arc::clone(&self.cluster) }
    }

    pub(super) fn registry(
        &self,
        watch: &WatchMetrics,
        autoscaler_watch: &WatchMetrics,
        report: &Report,
        peers: &PeerMetrics,
    ) -> Registry {
        let mut registry = Registry::with_prefix("replica_count_manager");
        watch.register(&mut registry);
        autoscaler_watch.register(registry.sub_registry_with_prefix("autoscaler"));
        report.metrics.register(&mut registry);
        peers.connections.register(&mut registry);
        peers.certificates.register(&mut registry);
        peers.requests.register(&mut registry);
        self.store.metrics().register(&mut registry);
        let readings = Readings {
            cluster: Arc::clone(&self.cluster),
            records: Arc::clone(&self.records),
            work: Arc::clone(&self.work),
            started: Instant::now(),
        };
        registry.register_collector(Box::new(readings) as Box<dyn Collector>);
        registry
    }
}
