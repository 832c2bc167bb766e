//! The parts of the server while they run, and the order in which they end.

use std::time::Duration;

use anyhow::anyhow;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::args::ServeArgs;
use super::shared::Shared;
use super::tasks::Tasks;
use super::watches::Watches;
use crate::net::http::{self, HttpState};
use crate::net::tls::Credentials;
use crate::net::tls::metrics::{CertificateMetrics, ConnectionMetrics};
use crate::net::tls::reload::Reload;
use crate::rpc::in_flight::{RequestMetrics, Requests};
use crate::rpc::port::{DRAIN, Grpc};
use crate::store::{Committer, Store};

/// How long the store may take to write what is queued when the server ends.
const CLOSE: Duration = Duration::from_secs(5);

/// What was bound.
pub(super) struct Listeners {
    pub(super) grpc: TcpListener,
    pub(super) http: TcpListener,
}

/// What is counted about clients.
#[derive(Debug, Default)]
struct PeerMetrics {
    connections: ConnectionMetrics,
    certificates: CertificateMetrics,
    requests: RequestMetrics,
}

impl PeerMetrics {
    fn register(&self, registry: &mut Registry) {
        self.connections.register(registry);
        self.certificates.register(registry);
        self.requests.register(registry);
    }
}

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
        credentials: Credentials,
        listeners: Listeners,
        thread_of_work: &Handle,
    ) -> Self {
        let (end_of_requests, end_of_work) = (CancellationToken::new(), CancellationToken::new());
        let (mut requests, mut work, mut writing) = (Tasks::default(), Tasks::default(), Tasks::default());
        let peers = PeerMetrics::default();
        let mut registry = Registry::with_prefix("replica_count_manager");
        peers.register(&mut registry);
        shared.register(&mut registry);
        let follower = shared.follower();
        writing.spawn_blocking("the store's writer", move || committer.run(follower));
        let (tasks, shutdown) = (&mut work, &end_of_work);
        Watches { shared, registry: &mut registry, tasks, runtime: thread_of_work, shutdown }.start();
        let reconciler = shared.reconciler();
        work.spawn_on(thread_of_work, "the reconciler", reconciler.run(end_of_work.clone()));
        let state = HttpState { health: shared.health(), registry };
        work.spawn("the HTTP port", http::serve(listeners.http, state, end_of_work.clone()));
        let reload = Reload::new(args.tls_files(), credentials, peers.certificates);
        let grpc = Grpc {
            service: shared.service(args.policy.max_replicas),
            health: shared.health(),
            credentials: reload.current(),
            connections: peers.connections,
            requests: Requests::new(peers.requests),
        };
        work.spawn("the certificates", reload.run(end_of_work.clone()));
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
    pub(super) async fn stop(mut self, store: &Store) -> anyhow::Result<()> {
        self.end_of_requests.cancel();
        if tokio::time::timeout(DRAIN, self.requests.join_all()).await.is_err() {
            // Their connections are tasks of tonic, which last until the process ends, soon after.
            warn!(after = ?DRAIN, "connections are still open and are not waited for");
            self.requests.abort_all();
            self.requests.join_all().await;
        }
        self.end_of_work.cancel();
        self.work.join_all().await;
        close(store, &mut self.writing).await
    }
}

/// Lets the store write what is queued. A disk that hangs must not keep the server from ending.
async fn close(store: &Store, writing: &mut Tasks) -> anyhow::Result<()> {
    let closed = tokio::time::timeout(CLOSE, async {
        store.close().await;
        writing.join_all().await;
    });
    closed.await.map_err(|_elapsed| {
        error!(after = ?CLOSE, "the settings file is still being written; the last changes may be lost");
        anyhow!("the settings file could not be written within {CLOSE:?}")
    })
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use tempfile::TempDir;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_hangs_does_not_keep_the_server() {
        let folder = TempDir::new().unwrap();
        let (store, _committer) = Store::open_file(&folder.path().join("replicas.json")).unwrap();
        let mut writing = Tasks::default();
        writing.spawn("the store's writer", pending());
        let asked = tokio::time::Instant::now();
        close(&store, &mut writing).await.unwrap_err();
        assert_eq!(asked.elapsed(), CLOSE);
    }
}
