//! What the parts of the server share, and how each part is created from it.

use std::sync::Arc;

use kube::Client;
use prometheus_client::collector::Collector;
use prometheus_client::registry::Registry;
use replica_count_core::policy::Policy;
use replica_count_core::replicas::Replicas;
use replica_count_core::target::Target;
use tokio::time::Instant;
use tracing::warn;

use super::args::AuthorizationMode;
use super::health::Health;
use crate::cluster::Cluster;
use crate::guards::Guards;
use crate::kubernetes::probe::Probe;
use crate::kubernetes::standing::Standing;
use crate::reconcile::desired::DesiredSubscriber;
use crate::reconcile::gauges::Gauges;
use crate::reconcile::guard_keeper::{GuardKeeper, GuardSettings};
use crate::reconcile::guard_metrics::GuardMetrics;
use crate::reconcile::marker::Marker;
use crate::reconcile::reconciler::Reconciler;
use crate::reconcile::records::Records;
use crate::reconcile::report::Report;
use crate::rpc::authorize::Authorizer;
use crate::rpc::context::Context;
use crate::rpc::list_queue::ListQueue;
use crate::rpc::service::Deployments;

/// What all parts of the server share.
pub(super) struct Shared {
    /// The store and the queue.
    pub(super) marker: Marker,
    pub(super) cluster: Arc<Cluster>,
    pub(super) records: Arc<Records>,
    pub(super) policy: Arc<Policy>,
    pub(super) guards: Arc<Guards>,
    pub(super) guard_metrics: GuardMetrics,
    pub(super) client: Client,
    pub(super) probe: Probe<Client>,
    pub(super) standing: Standing,
    pub(super) report: Report,
}

impl Shared {
    /// Marks all stored targets, and warns about what this server never enforces.
    pub(super) fn mark_stored(&self) {
        self.marker.store.read_all(|stored| {
            for (target, entry) in &stored.unsupported {
                warn!(%target, reason = &*entry.reason, "stored by another version, kept but not enforced");
            }
        });
        let managed: Vec<(Target, Replicas)> = self.marker.store.read(|settings| {
            settings.iter().map(|(target, setting)| (target.clone(), setting.replicas)).collect()
        });
        for (target, desired) in managed {
            if let Err(reason) = self.policy.scope.check(&target) {
                warn!(%target, %reason, "stored but not enforced");
            }
            self.records.insert_stored(target.clone(), desired);
            self.marker.work.mark(target);
        }
    }

    /// The only namespace that is watched. `None`: all.
    pub(super) fn namespace(&self) -> Option<&str> {
        self.policy.scope.only.as_deref()
    }

    /// The subscriber to the store.
    pub(super) fn subscriber(&self) -> DesiredSubscriber {
        DesiredSubscriber {
            records: Arc::clone(&self.records),
            work: Arc::clone(&self.marker.work),
            guards: Arc::clone(&self.guards),
            report: self.report.clone(),
        }
    }

    /// Keeps the guards.
    pub(super) fn guard_keeper(&self, settings: GuardSettings) -> GuardKeeper {
        GuardKeeper {
            guards: Arc::clone(&self.guards),
            settings,
            marker: self.marker.clone(),
            cluster: Arc::clone(&self.cluster),
            policy: Arc::clone(&self.policy),
            client: self.client.clone(),
            metrics: self.guard_metrics.clone(),
        }
    }

    pub(super) fn reconciler(&self) -> Reconciler {
        Reconciler {
            cluster: Arc::clone(&self.cluster),
            marker: self.marker.clone(),
            records: Arc::clone(&self.records),
            policy: Arc::clone(&self.policy),
            guards: Arc::clone(&self.guards),
            client: self.client.clone(),
            report: self.report.clone(),
        }
    }

    pub(super) fn service(&self, max_replicas: Replicas, authorizer: Authorizer) -> Deployments {
        Deployments(Context {
            store: self.marker.store.clone(),
            authorizer,
            cluster: Arc::clone(&self.cluster),
            records: Arc::clone(&self.records),
            policy: Arc::clone(&self.policy),
            guards: Arc::clone(&self.guards),
            max_replicas,
            client: self.client.clone(),
            lists: ListQueue::default(),
        })
    }

    /// How it is decided what clients may do.
    pub(super) fn authorizer(&self, mode: AuthorizationMode, registry: &mut Registry) -> Authorizer {
        match mode {
            AuthorizationMode::AlwaysAllow => Authorizer::always_allow(),
            AuthorizationMode::Rbac => Authorizer::rbac(self.client.clone(), registry),
        }
    }

    pub(super) fn health(&self) -> Health {
        Health {
            probe: self.probe.clone(),
            standing: self.standing.clone(),
            cluster: Arc::clone(&self.cluster),
            store: self.marker.store.clone(),
            guards: Arc::clone(&self.guards),
            kinds: self.policy.scope.kinds.clone(),
        }
    }

    /// Registers the metrics of the shared parts.
    pub(super) fn register(&self, registry: &mut Registry) {
        self.report.metrics.register(registry);
        self.marker.store.register(registry);
        if self.guards.is_on() {
            self.guard_metrics.register(registry);
        }
        let gauges = Gauges {
            store: self.marker.store.clone(),
            cluster: Arc::clone(&self.cluster),
            records: Arc::clone(&self.records),
            work: Arc::clone(&self.marker.work),
            policy: Arc::clone(&self.policy),
            guards: Arc::clone(&self.guards),
            started: Instant::now(),
        };
        registry.register_collector(Box::new(gauges) as Box<dyn Collector>);
        registry.register_collector(Box::new(self.standing.clone()) as Box<dyn Collector>);
    }
}
