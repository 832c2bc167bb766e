//! The parts of the server while they run, and the order in which they end.

use std::sync::Arc;

use tokio_util::sync::CancellationToken;
use tracing::warn;

use super::Listeners;
use super::grpc::{DRAIN, Grpc};
use super::shared::Shared;
use super::tasks::Tasks;
use crate::args::ServeArgs;
use crate::http::{self, HttpState};
use crate::metrics::WatchMetrics;
use crate::report::Report;
use crate::store::{Committer, Store};
use crate::tls::metrics::ConnectionMetrics;

/// Everything that runs. Requests end first, then the work that they may have brought, then the store.
pub(super) struct Running {
    end_of_requests: CancellationToken,
    requests: Tasks,
    end_of_work: CancellationToken,
    work: Tasks,
    writing: Tasks,
}

impl Running {
    pub(super) fn start(
        args: &ServeArgs,
        shared: &Shared,
        committer: Committer,
        tls: Arc<rustls::ServerConfig>,
        listeners: Listeners,
    ) -> Self {
        let (watch_metrics, report) = (WatchMetrics::default(), Report::default());
        let connection_metrics = ConnectionMetrics::default();
        let registry = shared.registry(&watch_metrics, &report, &connection_metrics);
        let namespace = args.kubernetes.namespace.0.as_deref();

        let (end_of_requests, end_of_work) = (CancellationToken::new(), CancellationToken::new());
        let (mut requests, mut work, mut writing) = (Tasks::default(), Tasks::default(), Tasks::default());
        let changed = shared.marker();
        writing.spawn_blocking("the store's writer", move || committer.run(changed));
        work.spawn("the watch", shared.watch(namespace, watch_metrics).run(end_of_work.clone()));
        work.spawn("the reconciler", shared.reconciler(report).run(end_of_work.clone()));
        let state = HttpState::new(shared.health(), Arc::new(registry));
        work.spawn("the HTTP port", http::serve(listeners.http, state, end_of_work.clone()));
        let grpc =
            Grpc { service: shared.service(args), health: shared.health(), tls, metrics: connection_metrics };
        requests.spawn_fallible("the gRPC port", grpc.serve(listeners.grpc, end_of_requests.clone()));
        Self { end_of_requests, requests, end_of_work, work, writing }
    }

    /// Waits for the first part to end, which none may: a server without one of its parts must not go on.
    pub(super) async fn first_to_end(&mut self) -> anyhow::Error {
        tokio::select! {
            error = self.requests.first_to_end() => error,
            error = self.work.first_to_end() => error,
            error = self.writing.first_to_end() => error,
        }
    }

    /// Ends everything in order. Requests under way get some time; what they stored is kept in any case.
    pub(super) async fn stop(mut self, store: &Store) {
        self.end_of_requests.cancel();
        if tokio::time::timeout(DRAIN, self.requests.join_all()).await.is_err() {
            warn!(after = ?DRAIN, "connections were still open and are cut");
            self.requests.abort_all();
            self.requests.join_all().await;
        }
        self.end_of_work.cancel();
        self.work.join_all().await;
        store.close().await;
        self.writing.join_all().await;
    }
}
