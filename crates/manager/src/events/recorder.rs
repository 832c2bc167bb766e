//! Writes Events of Kubernetes: one at a time, after repairs, and only while this server holds the Lease.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use kube::Client;
use replica_count_core::history::entry::Entry;
use replica_count_core::series::{Outcome, Series, Told};
use replica_count_core::target::Target;
use replica_count_core::words;
use tokio::sync::broadcast::Receiver;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep, sleep_until};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::metrics::EventMetrics;
use crate::cluster::Cluster;
use crate::history::shared::Happened;
use crate::kubernetes::event::{KubernetesEvent, Regarding, count, create, event_name};
use crate::kubernetes::replica_count::RequestError;
use crate::leadership::Leadership;
use crate::store::Kept;
use crate::work::Work;

/// How long one write may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// How soon a write is repeated that failed.
const RETRY: Duration = Duration::from_secs(5);
/// How long nothing is written after the API server has said that it may not be.
const PAUSE: Duration = Duration::from_mins(10);
/// How long a target may be overdue before Events wait for the repairs.
const LAG: Duration = Duration::from_millis(50);
/// How soon it is looked again whether repairs are behind, and how long an Event waits at most: in the end, people want to
/// see why.
const YIELD: Duration = Duration::from_millis(100);
const PATIENCE: Duration = Duration::from_secs(10);

/// Writes Events of Kubernetes.
pub struct EventRecorder {
    /// What happens.
    pub happened: Receiver<Happened>,
    /// The observed state.
    pub cluster: Arc<Cluster>,
    /// The ReplicaCounts. `None`: there are none.
    pub kept: Option<Arc<Kept>>,
    /// The queue of repairs.
    pub work: Arc<Work>,
    /// The right to write.
    pub leadership: Leadership,
    /// The API server.
    pub client: Client,
    /// Which process tells it.
    pub instance: String,
    /// The metrics.
    pub metrics: EventMetrics,
}

/// What is being told.
struct Telling {
    series: Series<Regarding>,
    /// Until when nothing is written. `None`: it may be.
    paused_until: Option<Instant>,
    /// Whether the API server has said that nothing may be written, which was logged.
    is_refused: bool,
}

impl EventRecorder {
    /// Runs until `shutdown`. What is not written then is not told.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let series = Series::new(Instant::now().into_std());
        let mut telling = Telling { series, paused_until: None, is_refused: false };
        let mut terms = self.leadership.terms();
        loop {
            tokio::select! {
                biased;
                () = shutdown.cancelled() => return,
                received = self.happened.recv() => match received {
                    Ok(Happened::Event { entry, is_own: true, .. }) => self.add(&mut telling, &entry),
                    // Whoever has recorded it tells it.
                    Ok(Happened::Event { is_own: false, .. } | Happened::Gap(_)) => {}
                    // Without a term, another server tells them.
                    Err(RecvError::Lagged(_)) if self.leadership.term().is_none() => {}
                    Err(RecvError::Lagged(missed)) => {
                        self.metrics.dropped.inc_by(missed);
                    }
                    Err(RecvError::Closed) => return,
                },
                term = terms.changed() => if term.is_none() {
                    self.drop_all(&mut telling);
                },
                () = turn(&telling.series, &self.work) => tokio::select! {
                    () = shutdown.cancelled() => return,
                    () = self.write_next(&mut telling) => {}
                },
            }
        }
    }

    fn add(&self, telling: &mut Telling, entry: &Arc<Entry>) {
        if self.leadership.term().is_none() {
            return;
        }
        for regarding in self.regarding(&entry.target) {
            let is_paused = telling.paused_until.is_some_and(|until| until > Instant::now());
            if is_paused || !telling.series.add(&regarding, entry, Instant::now().into_std()) {
                self.metrics.dropped.inc();
            }
        }
    }

    /// The objects of a target: the workload, and its ReplicaCounts.
    fn regarding(&self, target: &Target) -> Vec<Regarding> {
        let uid = self.cluster.view().observation(target).present().map(|observed| observed.uid.to_string());
        let mut objects = vec![Regarding {
            api_version: "apps/v1",
            kind: target.kind().as_str(),
            namespace: target.namespace().into(),
            name: target.name().into(),
            uid: uid.map(Into::into),
        }];
        let Some(kept) = &self.kept else { return objects };
        for key in kept.objects_of(&target.clone().into()) {
            let Some(object) = kept.view(&key) else { continue };
            objects.push(Regarding {
                api_version: "replicacount.dev/v1alpha1",
                kind: "ReplicaCount",
                namespace: (*key.namespace).into(),
                name: (*key.name).into(),
                uid: Some(object.uid),
            });
        }
        objects
    }

    fn drop_all(&self, telling: &mut Telling) {
        self.metrics.dropped.inc_by(telling.series.clear(Instant::now().into_std()) as u64);
    }

    /// Writes the next Event.
    async fn write_next(&self, telling: &mut Telling) {
        let Some(told) = telling.series.take(Instant::now().into_std()) else { return };
        let result = self.write(&told).await;
        self.record(telling, &told, &result);
    }

    async fn write(&self, told: &Told<Regarding>) -> Result<(), RequestError> {
        let (name, namespace) = (event_name(&told.key.name, told.first, told.id), &told.key.namespace);
        let event = KubernetesEvent {
            regarding: &told.key,
            instance: &self.instance,
            reason: words::reason(told.what),
            action: words::action(told.what),
            severity: told.severity,
            text: &told.text,
            first: told.first,
            last: told.last,
            count: told.count,
        };
        let send = async |_| {
            if told.is_written {
                count(&self.client, namespace, &name, told.count, told.last).await
            } else {
                create(&self.client, &name, &event).await
            }
        };
        let sent = self.leadership.write(DEADLINE, send).await;
        sent.unwrap_or_else(|_| Err(RequestError::Unknown("there was no answer in time".to_owned())))
    }

    /// Records how a write ended.
    fn record(&self, telling: &mut Telling, told: &Told<Regarding>, result: &Result<(), RequestError>) {
        self.metrics.writes.inc();
        let now = Instant::now().into_std();
        let outcome = match result {
            Ok(()) => Outcome::Written,
            Err(RequestError::Conflict(_)) if !told.is_written => Outcome::Exists,
            Err(RequestError::NotFound) => Outcome::Expired,
            Err(RequestError::Throttled { retry_after, .. }) => Outcome::Failed { retry_after: *retry_after },
            Err(RequestError::NotSent(_) | RequestError::Unknown(_) | RequestError::Conflict(_)) => {
                Outcome::Failed { retry_after: RETRY }
            }
            Err(RequestError::Forbidden(reason)) => return self.pause(telling, reason),
            Err(RequestError::NotInstalled) => return self.pause(telling, "the API server has no Events"),
            Err(RequestError::NoNamespace(_) | RequestError::Refused(_) | RequestError::UnknownField(_)) => {
                Outcome::Refused
            }
        };
        match result {
            Ok(()) if telling.is_refused => {
                telling.is_refused = false;
                info!("Events of Kubernetes are written again");
            }
            Ok(()) => {}
            Err(error) => {
                self.metrics.failures.inc();
                debug!(object = &*told.key.name, %error, "an Event of Kubernetes was not written");
            }
        }
        if outcome == Outcome::Refused {
            self.metrics.dropped.inc();
        }
        telling.series.ended(told, outcome, now);
    }

    /// Writes nothing for a while, because it may not. Logs that once.
    fn pause(&self, telling: &mut Telling, reason: &str) {
        self.metrics.failures.inc();
        telling.paused_until = Some(Instant::now() + PAUSE);
        // The one that was being written is not among those that are due.
        self.metrics.dropped.inc();
        self.drop_all(telling);
        if !std::mem::replace(&mut telling.is_refused, true) {
            warn!(
                reason,
                retry = ?PAUSE,
                "Events of Kubernetes cannot be written: grant the right to create and patch events.events.k8s.io, or \
                 set --kubernetes-events=false"
            );
        }
    }
}

/// Waits until there is something to write, and repairs are done or take too long.
async fn turn(series: &Series<Regarding>, work: &Work) {
    let (Some(at), Some(since)) = (series.next_at(Instant::now().into_std()), series.due_since()) else {
        return pending().await;
    };
    sleep_until(at.into()).await;
    while work.is_behind(LAG) && Instant::now() < Instant::from(since) + PATIENCE {
        sleep(YIELD).await;
    }
}

#[cfg(test)]
mod tests;
