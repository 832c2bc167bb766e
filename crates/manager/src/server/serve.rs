//! The server: what is validated, bound and started, in this order, and stopped in reverse.

use std::sync::Arc;

use anyhow::{Context, anyhow};
use kube::Client;
use replica_count_core::policy::Policy;
use replica_count_core::setting::Enforcement;
use tokio::runtime::Handle;
use tokio::task::spawn_blocking;
use tracing::{error, info};

use super::args::{ServeArgs, StoreArg};
use super::leader::{Leader, identity};
use super::log::LogParts;
use super::running::{Listeners, Parts, Running};
use super::shared::Shared;
use super::signals::Signals;
use crate::guards::Guards;
use crate::history;
use crate::history::file::HistoryFile;
use crate::history::shared::{Recorder, SharedHistory};
use crate::history::writer::HistoryWriter;
use crate::kubernetes::connect::connect;
use crate::kubernetes::lease::LeaseClient;
use crate::kubernetes::probe::Probe;
use crate::kubernetes::replica_count::Missing;
use crate::kubernetes::source::Opened;
use crate::leadership::Leadership;
use crate::net::listener;
use crate::net::tls::{self, Credentials};
use crate::notify::config::Config;
use crate::notify::metrics::NotifyMetrics;
use crate::notify::reload::NotifyReload;
use crate::reconcile::guard_metrics::GuardMetrics;
use crate::reconcile::marker::Marker;
use crate::reconcile::report::report;
use crate::reconcile::statuses::Statuses;
use crate::store::{Backing, Store};
use crate::traces::exporter::Exporter;
use crate::traces::{Tracer, Traces};

/// What the path of the history file has after that of the settings file.
const HISTORY_SUFFIX: &str = ".history";

/// Why the server ended.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// A flag, or a file that it names, is not usable. The message is one line that says which.
    #[error("{0}")]
    Usage(String),
    /// The server could not start or continue.
    #[error(transparent)]
    Failed(#[from] anyhow::Error),
}

impl ServeError {
    fn usage(error: impl std::error::Error) -> Self {
        Self::Usage(error.to_string())
    }
}

/// Validated, and not yet used.
struct Validated {
    credentials: Credentials,
    kubernetes: Opened,
    store: Store,
    backing: Backing,
    /// `None`: there is no election, because one server has the file.
    lease_namespace: Option<String>,
    remembered: Remembered,
    /// Receivers and routes of notifications. `None`: none are sent.
    notify: Option<NotifyReload>,
    /// `None`: there are no traces.
    exporting: Option<(Tracer, Exporter)>,
}

/// What is known of the past, who adds to it, and who writes it to its file. `None`: it is in memory only.
struct Remembered {
    history: SharedHistory,
    recorder: Recorder,
    writer: Option<HistoryWriter>,
}

/// Serves until SIGTERM or SIGINT, and then drains until done or the next signal. Watches and repairs run on
/// `reconcile_runtime`.
pub(super) async fn run(
    args: ServeArgs,
    reconcile_runtime: &Handle,
    log: LogParts,
) -> Result<(), ServeError> {
    let mut signals = Signals::listen().context("signals")?;
    let args = Arc::new(args);
    let validating = Arc::clone(&args);
    // A file may be a pipe that nobody writes to, or on a disk that hangs.
    let Validated { credentials, kubernetes, store, backing, lease_namespace, remembered, notify, exporting } = tokio::select! {
        validated = spawn_blocking(move || validate(&validating)) => validated.context("validation")??,
        signal = signals.next() => {
            info!(signal, "stopped before anything was started");
            return Ok(());
        }
    };
    let policy = policy(&args, &store);
    log_start(&policy, &kubernetes, &store);
    let (client, renewal) = {
        // The client's own task also runs there, or it would have to be woken on another thread.
        let _entered = reconcile_runtime.enter();
        connect(kubernetes).map_err(ServeError::usage)?
    };
    let leader = lease_namespace.map(|namespace| leader(&args, &client, namespace));
    let (tracer, exporter) = exporting.unzip();
    let leadership = leader.as_ref().map(leadership).unwrap_or_default();
    let statuses: Option<Arc<Statuses>> = args.store.has_statuses().then(Arc::default);
    let traces = Traces::new(tracer.unwrap_or_default());
    let (report, reporter) = report(remembered.recorder, traces, leadership.clone(), statuses.clone());
    let shared = Shared {
        guards: Arc::new(guards(&args, &store)),
        marker: Marker { store, work: Arc::default() },
        cluster: Arc::default(),
        records: Arc::default(),
        policy: Arc::new(policy),
        guard_metrics: GuardMetrics::default(),
        statuses,
        probe: Probe::new(client.clone()),
        standing: renewal.standing(),
        leadership,
        client,
        report,
        history: remembered.history,
    };
    shared.mark_stored();
    let (history, listeners) = (remembered.writer, bind(&args)?);
    let parts =
        Parts { log, backing, leader, reporter, history, notify, exporter, credentials, renewal, listeners };
    let mut running = Running::start(&args, &shared, parts, reconcile_runtime);
    serve(&mut running, &mut signals, &shared.marker.store).await
}

/// Serves until a signal or the end of a part, and then drains until done or the next signal.
async fn serve(running: &mut Running, signals: &mut Signals, store: &Store) -> Result<(), ServeError> {
    let outcome = tokio::select! {
        signal = signals.next() => {
            info!(signal, "draining");
            Ok(())
        }
        error = running.first_to_end() => Err(error),
    };
    let stopped = tokio::select! {
        stopped = running.stop(store) => stopped,
        signal = signals.next() => {
            running.abort().await;
            Err(anyhow!("{signal} while draining: ended immediately"))
        }
    };
    if stopped.is_ok() {
        info!("stopped");
    }
    outcome.and(stopped).map_err(classify)
}

fn log_start(policy: &Policy, kubernetes: &Opened, store: &Store) {
    info!(
        version = env!("CARGO_PKG_VERSION"),
        cluster = %kubernetes.server(),
        namespace = policy.scope.only.as_deref().unwrap_or("all"),
        settings = store.len(),
        enforcement = word(policy.enforcement),
        "starting"
    );
}

/// A store that does not exist is like a file that is not usable.
fn classify(error: anyhow::Error) -> ServeError {
    match error.downcast_ref::<Missing>() {
        Some(missing) => ServeError::usage(missing.clone()),
        None => error.into(),
    }
}

/// The policy of the flags, unless another server may enforce the same settings. Logs what does not work.
fn policy(args: &ServeArgs, store: &Store) -> Policy {
    if let Some(problem) = store.problem() {
        error!(problem, "changes are refused");
    }
    if store.is_locked() {
        return args.policy();
    }
    error!(
        "the settings cannot be locked, so another server may use them: nothing is enforced, and guards are left alone"
    );
    Policy { enforcement: Enforcement::Ignore { until: None }, ..args.policy() }
}

/// The guards of the flags, unless another server may keep them, too.
fn guards(args: &ServeArgs, store: &Store) -> Guards {
    if store.is_locked() { args.guards() } else { Guards::default() }
}

/// The history, which is in a file beside the settings if no other server may write that file, or in the status of
/// ReplicaCounts.
fn remember(args: &ServeArgs, store: &Store, backing: &Backing) -> Remembered {
    let bounds = args.history_bounds();
    match backing {
        Backing::File(committer) if store.is_locked() && bounds.keep_something() => {
            let (path, settings) = (committer.beside(HISTORY_SUFFIX), committer.beside(""));
            let (file, entries) = HistoryFile::open(path, settings, bounds.bytes as u64);
            let (history, recorder, writer) = history::in_file(bounds, file, entries);
            Remembered { history, recorder, writer: Some(writer) }
        }
        Backing::File(_) => {
            let (history, recorder) = history::in_memory(bounds);
            Remembered { history, recorder, writer: None }
        }
        Backing::Crd(_) => {
            let (history, recorder) = history::in_objects(bounds);
            Remembered { history, recorder, writer: None }
        }
    }
}

fn word(enforcement: Enforcement) -> &'static str {
    match enforcement {
        Enforcement::Enforce => "enforce",
        Enforcement::Ignore { .. } => "ignore",
    }
}

/// Reads every file that the flags name. Binds nothing, connects to nothing and runs nothing. May block.
fn validate(args: &ServeArgs) -> Result<Validated, ServeError> {
    args.check().map_err(ServeError::Usage)?;
    let credentials = tls::load(&args.tls_files()).map_err(ServeError::usage)?;
    let kubernetes = args.source().open().map_err(ServeError::usage)?;
    let (store, backing, lease_namespace) = match args.store.store {
        StoreArg::File => {
            let (store, committer) = Store::open_file(&args.store.file_path).map_err(ServeError::usage)?;
            (store, Backing::File(committer), None)
        }
        StoreArg::Crd => {
            let namespace = args.lease.namespace().map_err(ServeError::Usage)?;
            let (store, unstarted) = Store::open_crd(args.rules());
            (store, Backing::Crd(unstarted), Some(namespace))
        }
    };
    let remembered = remember(args, &store, &backing);
    // Where another server may use the same settings, that one notifies.
    let notify = notify(args)?.filter(|_| store.is_locked());
    let exporting = args.otlp.export(&args.lease.pod()).map_err(ServeError::Usage)?;
    Ok(Validated { credentials, kubernetes, store, backing, lease_namespace, remembered, notify, exporting })
}

/// The receivers and routes of notifications. `None`: none are sent.
fn notify(args: &ServeArgs) -> Result<Option<NotifyReload>, ServeError> {
    let Some(path) = &args.tell.notify_config else { return Ok(None) };
    let (config, snapshot) = Config::load(path).map_err(ServeError::usage)?;
    Ok(Some(NotifyReload::new(path.clone(), config, &snapshot, NotifyMetrics::default())))
}

/// A participant of the election.
fn leader(args: &ServeArgs, client: &Client, namespace: String) -> Leader {
    let timing = args.lease.timing();
    let lease = LeaseClient {
        client: client.clone(),
        namespace,
        name: args.lease.lease_name.clone(),
        identity: identity(&args.lease.pod()),
        duration: timing.duration,
    };
    info!(
        identity = lease.identity,
        namespace = lease.namespace,
        name = lease.name,
        "taking part in the election"
    );
    Leader::new(lease, timing)
}

/// The right to write of whoever holds the Lease.
fn leadership(leader: &Leader) -> Leadership {
    Leadership::elected(leader.term(), leader.holder())
}

fn bind(args: &ServeArgs) -> anyhow::Result<Listeners> {
    let grpc = args.listen.grpc_address;
    let http = args.listen.http_address;
    let listeners = Listeners {
        grpc: listener::bind(grpc).with_context(|| format!("--grpc-address {grpc}"))?,
        http: listener::bind(http).with_context(|| format!("--http-address {http}"))?,
    };
    info!(grpc = %listeners.grpc.local_addr()?, http = %listeners.http.local_addr()?, "listening");
    Ok(listeners)
}
