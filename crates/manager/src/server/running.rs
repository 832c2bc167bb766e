//! The running parts of the server, and the order in which they end.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use anyhow::anyhow;
use prometheus_client::registry::Registry;
use tokio::net::TcpListener;
use tokio::runtime::Handle;
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use super::args::ServeArgs;
use super::leader::Leader;
use super::log::Lines;
use super::shared::Shared;
use super::tasks::Tasks;
use super::watches::Watches;
use crate::history::writer::HistoryWriter;
use crate::kubernetes::renewal::Renewal;
use crate::leadership::Leadership;
use crate::net::http::{self, HttpState};
use crate::net::tls::Credentials;
use crate::net::tls::metrics::{CertificateMetrics, ConnectionMetrics};
use crate::net::tls::reload::Reload;
use crate::reconcile::report::Reporter;
use crate::rpc::in_flight::{RequestMetrics, Requests};
use crate::rpc::port::{DRAIN, Grpc};
use crate::store::{Backing, Kept, Store};

/// How long the store may take to write the queued changes when the server ends.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long giving up the Lease may take once nothing else runs. It usually has happened long before.
const RELEASE_TIMEOUT: Duration = Duration::from_secs(1);

/// How long the parts may take to end when the server is to end at once.
const ABORT_TIMEOUT: Duration = Duration::from_secs(1);

/// The parts that are not made from what the others share.
pub(super) struct Parts {
    pub(super) log: Arc<Lines>,
    pub(super) backing: Backing,
    /// `None`: there is no election.
    pub(super) leader: Option<Leader>,
    pub(super) reporter: Reporter,
    /// Who writes the history to its file. `None`: it is in memory only.
    pub(super) history: Option<HistoryWriter>,
    pub(super) credentials: Credentials,
    pub(super) renewal: Renewal,
    pub(super) listeners: Listeners,
}

/// The bound listeners.
pub(super) struct Listeners {
    pub(super) grpc: TcpListener,
    pub(super) http: TcpListener,
}

/// Metrics of clients.
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

/// Everything that runs. The term of this server ends first, so that another one takes over at once. Then requests end, then the work that they may have caused, then the store, then the report
/// of what happened.
pub(super) struct Running {
    stop_election: CancellationToken,
    election: Tasks,
    stop_requests: CancellationToken,
    requests: Tasks,
    stop_work: CancellationToken,
    work: Tasks,
    writing: Tasks,
    stop_reporting: CancellationToken,
    reporting: Tasks,
}

impl Running {
    pub(super) fn start(
        args: &ServeArgs,
        shared: &Shared,
        Parts { log, backing, leader, reporter, history, credentials, renewal, listeners }: Parts,
        reconcile_runtime: &Handle,
    ) -> Self {
        let [stop_requests, stop_work, stop_election, stop_reporting]: [CancellationToken; 4] =
            Default::default();
        let [mut requests, mut work, mut writing, mut reporting]: [Tasks; 4] = Default::default();
        reporting.spawn_on(reconcile_runtime, "the reporter", reporter.run(stop_reporting.clone()));
        if let Some(writer) = history {
            reporting.spawn_blocking("the writer of the history", move || writer.run());
        }
        let peers = PeerMetrics::default();
        let mut registry = Registry::with_prefix("replica_count_manager");
        log.register(&mut registry);
        peers.register(&mut registry);
        shared.register(&mut registry);
        let election = start_election(leader, shared, &mut registry, &stop_election);
        work.spawn("the Kubernetes credentials", renewal.run(stop_work.clone()));
        let (tasks, shutdown) = (&mut work, &stop_work);
        let mut watches =
            Watches { shared, registry: &mut registry, tasks, runtime: reconcile_runtime, shutdown };
        let kept = match backing {
            Backing::File(committer) => {
                let subscriber = shared.subscriber();
                writing.spawn_blocking("the store's writer", move || committer.run(subscriber));
                None
            }
            Backing::Crd(unstarted) => {
                let subscriber = Box::new(shared.subscriber());
                let (kept, sink, writer) = unstarted.start(shared.client.clone(), subscriber);
                writing.spawn_fallible("the store's writer", async { Ok(writer.run().await?) });
                watches.start_replica_counts(sink);
                Some(kept)
            }
        };
        watches.start();
        start_enforcing(shared, kept, &mut work, reconcile_runtime, &stop_work);
        start_guards(args, shared, &mut work, reconcile_runtime, &stop_work);
        let authorizer = shared.authorizer(args.authorization.authorization_mode, &mut registry);
        let state = HttpState { health: shared.health(), registry };
        work.spawn("the HTTP port", http::serve(listeners.http, state, stop_work.clone()));
        let reload = Reload::new(args.tls_files(), credentials, peers.certificates);
        let grpc = Grpc {
            service: shared.service(args.policy.max_replicas, authorizer, stop_requests.clone()),
            health: shared.health(),
            credentials: reload.current(),
            connections: peers.connections,
            requests: Requests::new(peers.requests),
        };
        work.spawn("the certificates", reload.run(stop_work.clone()));
        requests.spawn_fallible("the gRPC port", grpc.serve(listeners.grpc, stop_requests.clone()));
        Self {
            stop_election,
            election,
            stop_requests,
            requests,
            stop_work,
            work,
            writing,
            stop_reporting,
            reporting,
        }
    }

    /// Waits for the first part to end. None may end: a server without one of its parts must not continue.
    pub(super) async fn first_to_end(&mut self) -> anyhow::Error {
        tokio::select! {
            error = self.election.first_to_end() => error,
            error = self.requests.first_to_end() => error,
            error = self.work.first_to_end() => error,
            error = self.writing.first_to_end() => error,
            error = self.reporting.first_to_end() => error,
        }
    }

    /// Ends everything in order. Requests in flight get some time; what they stored is kept in any case. Returns the
    /// first failure.
    pub(super) async fn stop(&mut self, store: &Store) -> anyhow::Result<()> {
        self.stop_election.cancel();
        self.stop_requests.cancel();
        if tokio::time::timeout(DRAIN, self.requests.join_all()).await.is_err() {
            // Their connections are tasks of tonic, which run until the process ends, soon after.
            warn!(after = ?DRAIN, "not waiting for open connections");
            self.requests.abort_all();
            self.requests.join_all().await;
        }
        self.stop_work.cancel();
        self.work.join_all().await;
        if tokio::time::timeout(RELEASE_TIMEOUT, self.election.join_all()).await.is_err() {
            warn!("the lease is not given up: another server has to wait until it expires");
            self.election.abort_all();
            self.election.join_all().await;
        }
        let closed = close(store, &mut self.writing).await;
        self.stop_reporting.cancel();
        if tokio::time::timeout(CLOSE_TIMEOUT, self.reporting.join_all()).await.is_err() {
            warn!(after = ?CLOSE_TIMEOUT, "not waiting for the history to be written");
        }
        let [election, requests, work, reporting] =
            [&mut self.election, &mut self.requests, &mut self.work, &mut self.reporting].map(Tasks::outcome);
        closed.and(work).and(requests).and(election).and(reporting)
    }

    /// Ends at once. A credential plugin is still killed, which would otherwise outlive the server.
    pub(super) async fn abort(&mut self) {
        self.work.abort_all();
        // An aborted task ends when it next waits; that is soon, but this must not wait for ever.
        let _ = tokio::time::timeout(ABORT_TIMEOUT, self.work.join_all()).await;
    }
}

/// Starts what puts counts into effect, and with ReplicaCounts, what keeps their status.
fn start_enforcing(
    shared: &Shared,
    kept: Option<Arc<Kept>>,
    work: &mut Tasks,
    runtime: &Handle,
    shutdown: &CancellationToken,
) {
    if let (Some(statuses), Some(kept)) = (shared.statuses.clone(), kept) {
        let keeper = shared.status_keeper(statuses, kept);
        work.spawn_on(runtime, "the keeper of statuses", keeper.run(shutdown.clone()));
    }
    work.spawn_on(runtime, "the reconciler", shared.reconciler().run(shutdown.clone()));
}

/// Starts what keeps and proves guards, or what removes those of an earlier run.
fn start_guards(
    args: &ServeArgs,
    shared: &Shared,
    work: &mut Tasks,
    runtime: &Handle,
    shutdown: &CancellationToken,
) {
    match args.guard_settings() {
        Some(settings) if shared.guards.is_on() => {
            let prover = shared.guard_prover(&settings);
            work.spawn_on(runtime, "the prover of guards", prover.run(shutdown.clone()));
            let keeper = shared.guard_keeper(settings);
            work.spawn_on(runtime, "the keeper of guards", keeper.run(shutdown.clone()));
        }
        None if shared.marker.store.is_locked() => {
            let removal = shared.guard_removal(args.guard.guard_name.clone());
            work.spawn("the removal of guards", removal.run(shutdown.clone()));
        }
        // Another server may keep them.
        Some(_) | None => {}
    }
}

/// Starts to take part in the election, if there is one.
fn start_election(
    leader: Option<Leader>,
    shared: &Shared,
    registry: &mut Registry,
    stop: &CancellationToken,
) -> Tasks {
    let mut election = Tasks::default();
    if let Some(leader) = leader {
        leader.register(registry);
        let leadership = shared.leadership.clone();
        election.spawn("the election", take_part(leader, leadership, stop.clone()));
    }
    election
}

/// Takes part in the election until `stop`, and then gives up the Lease once no write of this server is in flight.
async fn take_part(leader: Leader, leadership: Leadership, stop: CancellationToken) {
    let drained = CancellationToken::new();
    let mut terms = leadership.terms();
    let draining = async {
        stop.cancelled().await;
        while leadership.term().is_some() {
            terms.changed().await;
        }
        leadership.drained().await;
        drained.cancel();
        pending::<()>().await;
    };
    tokio::select! {
        () = leader.run(stop.clone(), drained.clone()) => {}
        () = draining => {}
    }
}

/// Lets the store write the queued changes. A disk that hangs must not keep the server from ending.
async fn close(store: &Store, writing: &mut Tasks) -> anyhow::Result<()> {
    let closed = tokio::time::timeout(CLOSE_TIMEOUT, async {
        store.close().await;
        writing.join_all().await;
    });
    if closed.await.is_err() {
        error!(after = ?CLOSE_TIMEOUT, "the settings file is still being written; the last changes may be lost");
        return Err(anyhow!("the settings file could not be written within {CLOSE_TIMEOUT:?}"));
    }
    writing.outcome()
}

#[cfg(test)]
mod tests {
    use replica_count_core::change::{Action, Change, Changed, Existing};
    use replica_count_core::replicas::Replicas;
    use replica_count_core::target::Target;
    use tempfile::TempDir;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_disk_that_hangs_does_not_block_shutdown() {
        let folder = TempDir::new().unwrap();
        let (store, _committer) = Store::open_file(&folder.path().join("replicas.json")).unwrap();
        let mut writing = Tasks::default();
        writing.spawn("the store's writer", pending());
        let started = tokio::time::Instant::now();
        close(&store, &mut writing).await.unwrap_err();
        assert_eq!(started.elapsed(), CLOSE_TIMEOUT);
    }

    #[tokio::test]
    async fn what_is_aborted_has_ended() {
        let mut running = Running {
            stop_election: CancellationToken::new(),
            election: Tasks::default(),
            stop_requests: CancellationToken::new(),
            requests: Tasks::default(),
            stop_work: CancellationToken::new(),
            work: Tasks::default(),
            writing: Tasks::default(),
            stop_reporting: CancellationToken::new(),
            reporting: Tasks::default(),
        };
        let ended = CancellationToken::new();
        let plugin = ended.clone().drop_guard();
        running.work.spawn("the Kubernetes credentials", async move {
            pending::<()>().await;
            drop(plugin);
        });
        running.abort().await;
        assert!(ended.is_cancelled());
    }

    #[tokio::test]
    async fn a_writer_that_panics_during_shutdown_is_a_failure() {
        let folder = TempDir::new().unwrap();
        let (store, committer) = Store::open_file(&folder.path().join("replicas.json")).unwrap();
        let mut writing = Tasks::default();
        let panics = |_: &Changed| panic!("on purpose");
        writing.spawn_blocking("the store's writer", move || committer.run(panics));
        let action = Action::Set { replicas: Replicas::new(1).unwrap(), until: None, reason: None };
        let (by, at) = ("alice".to_owned(), jiff::Timestamp::UNIX_EPOCH);
        let change = Change { expected_generation: None, existing: Existing::Any, by, at, action };
        let target = Target::deployment("shop", "web").unwrap();
        let submitted = store.apply(target, change);
        let (_, closed) = tokio::join!(submitted, close(&store, &mut writing));
        let error = format!("{:#}", closed.unwrap_err());
        assert!(error.starts_with("the store's writer failed: "), "{error}");
    }
}
