//! What the parts of the server share, and how each part is created from it.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64};

use kube::Client;
use prometheus_client::collector::Collector;
use prometheus_client::registry::Registry;
use replica_count_core::policy::Policy;
use replica_count_core::replicas::Replicas;
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::args::AuthorizationMode;
use super::health::Health;
use crate::cluster::Cluster;
use crate::events::metrics::EventMetrics;
use crate::events::recorder::EventRecorder;
use crate::guards::Guards;
use crate::history::shared::SharedHistory;
use crate::kubernetes::probe::Probe;
use crate::kubernetes::scale::Scales;
use crate::kubernetes::standing::Standing;
use crate::leadership::Leadership;
use crate::notify::notifier::Notifier;
use crate::notify::reload::NotifyReload;
use crate::reconcile::desired::DesiredSubscriber;
use crate::reconcile::gauges::Gauges;
use crate::reconcile::guard_keeper::{GuardKeeper, GuardSettings};
use crate::reconcile::guard_metrics::GuardMetrics;
use crate::reconcile::guard_prover::GuardProver;
use crate::reconcile::guard_removal::GuardRemoval;
use crate::reconcile::marker::Marker;
use crate::reconcile::reconciler::Reconciler;
use crate::reconcile::records::Records;
use crate::reconcile::report::Report;
use crate::reconcile::status_keeper::StatusKeeper;
use crate::reconcile::statuses::Statuses;
use crate::reconcile::target_metrics::TargetMetrics;
use crate::rpc::authorize::Authorizer;
use crate::rpc::context::Context;
use crate::rpc::list_queue::ListQueue;
use crate::rpc::service::Deployments;
use crate::store::{Kept, Subscriber as _};

/// What all parts of the server share.
pub(super) struct Shared {
    /// The store and the queue.
    pub(super) marker: Marker,
    pub(super) cluster: Arc<Cluster>,
    pub(super) records: Arc<Records>,
    pub(super) policy: Arc<Policy>,
    pub(super) guards: Arc<Guards>,
    pub(super) guard_metrics: GuardMetrics,
    pub(super) leadership: Leadership,
    pub(super) client: Client,
    pub(super) probe: Probe<Client>,
    pub(super) standing: Standing,
    pub(super) report: Report,
    pub(super) history: SharedHistory,
    /// The status of ReplicaCounts, with the store that has them.
    pub(super) statuses: Option<Arc<Statuses>>,
}

impl Shared {
    /// Marks all stored targets, and warns about what this server never enforces. A store that has not been read does that
    /// later.
    pub(super) fn mark_stored(&self) {
        if self.marker.store.is_read() {
            self.subscriber().filled();
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
            marker: self.marker.clone(),
            policy: Arc::clone(&self.policy),
            guards: Arc::clone(&self.guards),
            report: self.report.clone(),
            statuses: self.statuses.clone(),
        }
    }

    /// Keeps the status of ReplicaCounts.
    pub(super) fn status_keeper(&self, statuses: Arc<Statuses>, kept: Arc<Kept>) -> StatusKeeper {
        StatusKeeper {
            statuses,
            kept,
            marker: self.marker.clone(),
            cluster: Arc::clone(&self.cluster),
            records: Arc::clone(&self.records),
            policy: Arc::clone(&self.policy),
            guards: Arc::clone(&self.guards),
            history: self.history.clone(),
            drops_history: AtomicBool::default(),
            leadership: self.leadership.clone(),
            client: self.client.clone(),
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
            leadership: self.leadership.clone(),
            client: self.client.clone(),
            metrics: self.guard_metrics.clone(),
        }
    }

    /// Proves guards.
    pub(super) fn guard_prover(&self, settings: &GuardSettings) -> GuardProver {
        GuardProver {
            guards: Arc::clone(&self.guards),
            mode: settings.mode,
            marker: self.marker.clone(),
            cluster: Arc::clone(&self.cluster),
            client: self.client.clone(),
            metrics: self.guard_metrics.clone(),
            failed: Notify::new(),
        }
    }

    /// Writes Events of Kubernetes about what happens.
    pub(super) fn event_recorder(&self, kept: Option<Arc<Kept>>, instance: String) -> EventRecorder {
        EventRecorder {
            happened: self.history.watch(),
            cluster: Arc::clone(&self.cluster),
            kept,
            work: Arc::clone(&self.marker.work),
            leadership: self.leadership.clone(),
            client: self.client.clone(),
            instance,
            metrics: EventMetrics::default(),
        }
    }

    /// Sends notifications of what happens.
    pub(super) fn notifier(&self, reload: &NotifyReload) -> Notifier {
        Notifier {
            happened: self.history.watch(),
            history: self.history.clone(),
            config: reload.current(),
            leadership: self.leadership.clone(),
            metrics: reload.metrics().clone(),
        }
    }

    /// Removes the guards of this name.
    pub(super) fn guard_removal(&self, name: String) -> GuardRemoval {
        let namespace = self.namespace().map(str::to_owned);
        GuardRemoval { leadership: self.leadership.clone(), client: self.client.clone(), namespace, name }
    }

    pub(super) fn reconciler(&self) -> Reconciler {
        Reconciler {
            cluster: Arc::clone(&self.cluster),
            marker: self.marker.clone(),
            records: Arc::clone(&self.records),
            policy: Arc::clone(&self.policy),
            guards: Arc::clone(&self.guards),
            leadership: self.leadership.clone(),
            term: AtomicU64::default(),
            scales: Scales::new(self.client.clone(), self.leadership.clone()),
            report: self.report.clone(),
            statuses: self.statuses.clone(),
        }
    }

    /// The RPCs. Streams end with `ending`.
    pub(super) fn service(
        &self,
        max_replicas: Replicas,
        authorizer: Authorizer,
        ending: CancellationToken,
    ) -> Deployments {
        let context = Context {
            leadership: self.leadership.clone(),
            store: self.marker.store.clone(),
            authorizer,
            cluster: Arc::clone(&self.cluster),
            records: Arc::clone(&self.records),
            policy: Arc::clone(&self.policy),
            guards: Arc::clone(&self.guards),
            max_replicas,
            client: self.client.clone(),
            traces: self.report.traces.clone(),
            lists: ListQueue::default(),
            history: self.history.clone(),
            ending,
        };
        Deployments(Arc::new(context))
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
            leadership: self.leadership.clone(),
            guards: Arc::clone(&self.guards),
            kinds: self.policy.scope.kinds.clone(),
        }
    }

    /// Registers the metrics of the shared parts, and those of at most so many targets one by one.
    pub(super) fn register(&self, registry: &mut Registry, shown_targets: Option<usize>) {
        self.report.metrics.register(registry);
        self.report.traces.tracer().register(registry);
        self.history.register(registry);
        self.marker.store.register(registry);
        if self.guards.is_on() {
            self.guard_metrics.register(registry);
        }
        if let Some(statuses) = &self.statuses {
            statuses.metrics.register(registry);
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
        if let Some(limit) = shown_targets {
            let targets = TargetMetrics {
                store: self.marker.store.clone(),
                cluster: Arc::clone(&self.cluster),
                records: Arc::clone(&self.records),
                policy: Arc::clone(&self.policy),
                guards: Arc::clone(&self.guards),
                limit,
            };
            registry.register_collector(Box::new(targets) as Box<dyn Collector>);
        }
    }
}
