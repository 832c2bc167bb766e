//! The server: what is validated, bound and started, in this order, and ended in the reverse one.

mod grpc;
mod health;
mod signals;
mod tasks;

use std::sync::Arc;

use anyhow::Context;
use kube::{Api, Client, Config};
use prometheus_client::{collector::Collector, registry::Registry};
use replica_count_core::{decide::Policy, target::Target};
use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tracing::{info, warn};

use self::{health::Health, signals::Signals, tasks::Tasks};
use crate::{
    args::ServeArgs,
    cluster::Cluster,
    http::{self, HttpState},
    kubernetes::{connect, deployment::SlimDeployment, watch::Watch},
    metrics::{Readings, WatchMetrics},
    reconcile::{Histories, Reconciler},
    report::Report,
    service::Deployments,
    store::{Committer, Store},
    tls::{self, metrics::ConnectionMetrics},
    work::Work,
};

/// Why the server ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A flag, or a file that it names, is not usable. One line that says which.
    #[error("{0}")]
    Usage(String),
    /// The server could not start or go on.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

impl ServeError {
    fn usage(error: impl std::error::Error) -> Self {
        Self::Usage(error.to_string())
    }
}

/// What was validated and not yet used.
struct Validated {
    tls: Arc<rustls::ServerConfig>,
    kubernetes: Config,
    store: Store,
    committer: Committer,
}

/// What was bound.
struct Listeners {
    grpc: TcpListener,
    http: TcpListener,
}

/// What all parts of the server share.
struct Shared {
    store: Store,
    cluster: Arc<Cluster>,
    work: Arc<Work>,
    histories: Arc<Histories>,
    policy: Arc<Policy>,
    client: Client,
}

/// Serves until SIGTERM or SIGINT.
pub async fn run(args: ServeArgs) -> Result<(), ServeError> {
    let signals = Signals::listen().context("signals")?;
    let Validated { tls, kubernetes, store, committer } = validate(&args).await?;
    let namespace = args.kubernetes.namespace.0.clone();
    info!(
        version = env!("CARGO_PKG_VERSION"),
        cluster = %kubernetes.cluster_url,
        namespace = namespace.as_deref().unwrap_or("all"),
        settings = store.len(),
        enforcement = ?args.policy.enforcement,
        "starting"
    );
    let client = connect::client(kubernetes).map_err(ServeError::usage)?;
    let shared = Shared {
        store,
        cluster: Arc::default(),
        work: Arc::default(),
        histories: Arc::default(),
        policy: Arc::new(args.policy()),
        client,
    };
    shared.begin();
    let listeners = bind(&args).await?;
    serve(&args, shared, committer, tls, listeners, signals).await?;
    Ok(())
}

/// Reads every file that the flags name. Binds nothing and connects to nothing.
async fn validate(args: &ServeArgs) -> Result<Validated, ServeError> {
    let tls = tls::load(&args.tls_files()).map_err(ServeError::usage)?;
    let kubernetes = args.source().load().await.map_err(ServeError::usage)?;
    let (store, committer) = Store::open(&args.store.file_path).map_err(ServeError::usage)?;
    Ok(Validated { tls, kubernetes, store, committer })
}

async fn bind(args: &ServeArgs) -> anyhow::Result<Listeners> {
    let grpc = args.listen.grpc_address;
    let http = args.listen.http_address;
    let listeners = Listeners {
        grpc: TcpListener::bind(grpc).await.with_context(|| format!("--grpc-address {grpc}"))?,
        http: TcpListener::bind(http).await.with_context(|| format!("--http-address {http}"))?,
    };
    info!(grpc = %listeners.grpc.local_addr()?, http = %listeners.http.local_addr()?, "listening");
    Ok(listeners)
}

async fn serve(
    args: &ServeArgs,
    shared: Shared,
    committer: Committer,
    tls: Arc<rustls::ServerConfig>,
    listeners: Listeners,
    mut signals: Signals,
) -> anyhow::Result<()> {
    let watch_metrics = WatchMetrics::default();
    let report = Report::default();
    let connection_metrics = ConnectionMetrics::default();
    let registry = shared.registry(&watch_metrics, &report, &connection_metrics);

    // Requests end first, then the work that they may have brought, then the store.
    let (requests, work) = (CancellationToken::new(), CancellationToken::new());
    let mut tasks = Tasks::default();
    let committed = shared.marker();
    let committing = tokio::task::spawn_blocking(move || committer.run(committed));
    tasks.spawn(
        "watch",
        shared.watch(args.kubernetes.namespace.0.as_deref(), watch_metrics).run(work.clone()),
    );
    tasks.spawn("reconciler", shared.reconciler(report).run(work.clone()));
    let state = HttpState::new(shared.health(), Arc::new(registry));
    tasks.spawn("http", http::serve(listeners.http, state, work.clone()));
    let service = shared.service(args);
    let grpc = grpc::Grpc { service, health: shared.health(), tls, metrics: connection_metrics };
    let mut serving = tokio::spawn(grpc.serve(listeners.grpc, requests.clone()));

    let outcome = tokio::select! {
        signal = signals.next() => {
            info!(signal, "draining");
            Ok(())
        }
        ended = tasks.first_to_end() => ended,
        ended = &mut serving => ended.map_err(anyhow::Error::from).and_then(|ended| ended).and(Err(anyhow::anyhow!("the gRPC server ended"))),
    };
    requests.cancel();
    if !serving.is_finished() && tokio::time::timeout(grpc::DRAIN, &mut serving).await.is_err() {
        warn!(after = ?grpc::DRAIN, "connections were still open and are cut");
        serving.abort();
    }
    work.cancel();
    tasks.join_all().await;
    shared.store.close().await;
    committing.await.context("the store's writer")?;
    if outcome.is_ok() {
        info!("stopped");
    }
    outcome
}

impl Shared {
    /// Makes everything stored due, and says what of it will never be enforced here.
    fn begin(&self) {
        let managed: Vec<Target> = self.store.read(|settings| settings.keys().cloned().collect());
        for target in managed {
            if let Err(reason) = self.policy.scope.check(target.namespace()) {
                warn!(%target, %reason, "stored but not enforced");
            }
            self.histories.begin(target.clone());
            self.work.mark(target);
        }
    }

    /// What the store calls when a setting has changed.
    fn marker(&self) -> impl Fn(&Target) + Send + 'static {
        let (store, histories, work) =
            (self.store.clone(), Arc::clone(&self.histories), Arc::clone(&self.work));
        move |target| {
            histories.follow(target, store.get(target).is_some());
            work.mark(target.clone());
        }
    }

    fn watch(&self, namespace: Option<&str>, metrics: WatchMetrics) -> Watch {
        let api: Api<SlimDeployment> = match namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let (store, work) = (self.store.clone(), Arc::clone(&self.work));
        let changed = move |target: Target| {
            if store.read(|settings| settings.contains_key(&target)) {
                work.mark(target);
            }
        };
        let (histories, work) = (Arc::clone(&self.histories), Arc::clone(&self.work));
        let recovered = move || {
            for target in histories.forgive_all() {
                work.mark(target);
            }
        };
        let cluster = Arc::clone(&self.cluster);
        Watch { api, cluster, changed: Box::new(changed), recovered: Box::new(recovered), metrics }
    }

    fn reconciler(&self, report: Report) -> Reconciler {
        Reconciler {
            store: self.store.clone(),
            cluster: Arc::clone(&self.cluster),
            work: Arc::clone(&self.work),
            histories: Arc::clone(&self.histories),
            policy: Arc::clone(&self.policy),
            client: self.client.clone(),
            report,
        }
    }

    fn service(&self, args: &ServeArgs) -> Deployments {
        Deployments {
            store: self.store.clone(),
            cluster: Arc::clone(&self.cluster),
            histories: Arc::clone(&self.histories),
            policy: Arc::clone(&self.policy),
            max_replicas: args.policy.max_replicas,
            client: self.client.clone(),
        }
    }

    fn health(&self) -> Health {
        Health { client: self.client.clone(), cluster: Arc::clone(&self.cluster) }
    }

    fn registry(&self, watch: &WatchMetrics, report: &Report, connections: &ConnectionMetrics) -> Registry {
        let mut registry = Registry::with_prefix("replica_count_manager");
        watch.register(&mut registry);
        report.metrics.register(&mut registry);
        connections.register(&mut registry);
        self.store.metrics().register(&mut registry);
        let readings = Readings { cluster: Arc::clone(&self.cluster), work: Arc::clone(&self.work) };
        registry.register_collector(Box::new(readings) as Box<dyn Collector>);
        registry
    }
}
