//! Takes part in the election of the one replica that enforces: sends what the elector decides, and tells it what a watch
//! shows. The rest of the server only sees the term.

mod metrics;
mod sink;

use std::future::pending;
use std::pin::pin;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use prometheus_client::registry::Registry;
use replica_count_core::leader::{Action, Elector, Outcome, Request, Term, Timing};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use self::metrics::LeaderMetrics;
use self::sink::{LeaseSink, Shown};
use crate::kubernetes::lease::{LeaseClient, LeaseError};
use crate::kubernetes::leases;
use crate::kubernetes::watch::{Watch, WatchMetrics};

/// Characters of the random part of an identity.
const RANDOM_PART: usize = 10;

/// The identity of a process: the name of its pod, and a random part, because a container that restarts in its pod is
/// another process.
pub fn identity(pod: &str) -> String {
    let random: String = std::iter::repeat_with(fastrand::alphanumeric).take(RANDOM_PART).collect();
    format!("{pod}_{random}")
}

/// A participant of the election.
pub struct Leader {
    lease: LeaseClient,
    timing: Timing,
    term: watch::Sender<Option<Term>>,
    holder: watch::Sender<Option<String>>,
    metrics: LeaderMetrics,
    watch_metrics: WatchMetrics,
}

/// A request about the Lease in flight.
type InFlight = BoxFuture<'static, (Outcome, Option<LeaseError>)>;

/// What happened while the elector waited.
enum Woken {
    Observed,
    Answered(Outcome, Option<LeaseError>),
    Due,
    ShutDown,
    Drained,
}

impl Leader {
    /// Takes part with the identity of `lease`. The times must fit together.
    pub fn new(lease: LeaseClient, timing: Timing) -> Self {
        Self {
            lease,
            timing,
            term: watch::Sender::default(),
            holder: watch::Sender::default(),
            metrics: LeaderMetrics::default(),
            watch_metrics: WatchMetrics::default(),
        }
    }

    /// Registers the metrics.
    pub fn register(&self, registry: &mut Registry) {
        self.metrics.register(registry);
        self.watch_metrics.register(registry, "lease_");
    }

    /// The term, now and after each change. `None`: this process may not write. Whoever writes must be done before the
    /// term's end, and look at the term immediately before.
    pub fn term(&self) -> watch::Receiver<Option<Term>> {
        self.term.subscribe()
    }

    /// Who holds the Lease, as far as is known.
    pub fn holder(&self) -> watch::Receiver<Option<String>> {
        self.holder.subscribe()
    }

    /// Takes part until `shutdown`. Then it gives the Lease up, as soon as `drained` says that no write of the last term
    /// is in flight any more.
    pub async fn run(self, shutdown: CancellationToken, drained: CancellationToken) {
        let (shown, mut shows) = watch::channel(None);
        let watching = Watch {
            client: self.lease.client.clone(),
            path: leases(&self.lease.namespace),
            sink: LeaseSink::new(self.lease.name.clone(), shown),
            metrics: self.watch_metrics.clone(),
        };
        let mut watching = pin!(watching.run(CancellationToken::new()));
        tokio::select! {
            () = self.elect(&mut shows, &shutdown, &drained) => {}
            () = &mut watching => {}
        }
    }

    async fn elect(
        &self,
        shows: &mut watch::Receiver<Option<Shown>>,
        shutdown: &CancellationToken,
        drained: &CancellationToken,
    ) {
        let mut elector = Elector::new(self.lease.identity.clone(), self.timing, now());
        let mut in_flight: Option<InFlight> = None;
        let (mut is_stopping, mut is_drained) = (false, false);
        loop {
            let until = match elector.next(now()) {
                Action::Wait(until) => until,
                Action::Send(request, deadline) => {
                    in_flight = Some(self.send(request, &elector, shows, deadline.into()));
                    continue;
                }
                Action::Finish => return,
                news => {
                    self.tell(&news);
                    continue;
                }
            };
            self.show_holder(&elector);
            let woken = tokio::select! {
                Ok(()) = shows.changed() => Woken::Observed,
                (outcome, error) = answer(&mut in_flight) => Woken::Answered(outcome, error),
                () = due(until.map(Into::into)) => Woken::Due,
                () = shutdown.cancelled(), if !is_stopping => Woken::ShutDown,
                () = drained.cancelled(), if is_stopping && !is_drained => Woken::Drained,
            };
            match woken {
                Woken::Observed => {
                    let shown = shows.borrow_and_update().clone();
                    if let Some(Shown { observed, .. }) = shown {
                        elector.observe(observed, now());
                    }
                }
                Woken::Answered(outcome, error) => {
                    in_flight = None;
                    self.record(error);
                    elector.answered(outcome, now());
                }
                Woken::Due => {}
                Woken::ShutDown => {
                    is_stopping = true;
                    elector.shut_down();
                }
                Woken::Drained => {
                    is_drained = true;
                    elector.drained();
                }
            }
        }
    }

    fn send(
        &self,
        request: Request,
        elector: &Elector,
        shows: &watch::Receiver<Option<Shown>>,
        deadline: Instant,
    ) -> InFlight {
        let (lease, holder) = (self.lease.clone(), elector.holder().map(str::to_owned));
        let transitions = shows.borrow().as_ref().map_or(0, |shown| shown.transitions);
        async move { lease.send(&request, (holder.as_deref(), transitions), deadline).await }.boxed()
    }

    /// Tells the rest of the server about a term.
    fn tell(&self, news: &Action) {
        let lease = format!("{}/{}", self.lease.namespace, self.lease.name);
        match news {
            Action::Begin(term) => {
                info!(
                    term = term.number,
                    lease,
                    identity = self.lease.identity,
                    "this server enforces: it holds the lease"
                );
                self.metrics.begin();
                self.term.send_replace(Some(*term));
            }
            Action::Extend(term) => {
                self.term.send_replace(Some(*term));
            }
            Action::End(number, end) => {
                self.term.send_replace(None);
                self.metrics.end();
                info!(term = number, lease, reason = ?end, "this server no longer enforces");
            }
            Action::Send(..) | Action::Wait(_) | Action::Finish => {}
        }
    }

    /// Logs when requests begin and cease to fail.
    fn record(&self, error: Option<LeaseError>) {
        let was_failing = self.metrics.record(error.as_ref());
        match error {
            Some(error @ LeaseError::Forbidden) if !was_failing => {
                error!(%error, "the lease cannot be held: nothing is enforced");
            }
            Some(error) if !was_failing => warn!(%error, "the lease cannot be renewed"),
            None if was_failing => info!("the lease can be read and written again"),
            Some(_) | None => {}
        }
    }

    fn show_holder(&self, elector: &Elector) {
        self.holder.send_if_modified(|shown| {
            let is_new = shown.as_deref() != elector.holder();
            if is_new {
                *shown = elector.holder().map(str::to_owned);
                self.metrics.show_held(shown.is_some());
                info!(holder = shown.as_deref().unwrap_or("nobody"), "the lease is held");
            }
            is_new
        });
    }
}

fn now() -> std::time::Instant {
    Instant::now().into_std()
}

async fn answer(in_flight: &mut Option<InFlight>) -> (Outcome, Option<LeaseError>) {
    match in_flight {
        Some(request) => request.await,
        None => pending().await,
    }
}

async fn due(at: Option<Instant>) {
    match at {
        Some(at) => sleep_until(at).await,
        None => pending().await,
    }
}
