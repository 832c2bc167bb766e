//! Writes the status of ReplicaCounts: rarely, after everything else, and only what has changed.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use kube::Client;
use replica_count_core::entry_target::EntryTarget;
use replica_count_core::history::compact::{self, Encoded};
use replica_count_core::observed::Observation;
use replica_count_core::policy::Policy;
use replica_count_core::record::Record;
use replica_count_core::target::Target;
use tokio::time::{Instant, sleep};
use tokio_util::sync::CancellationToken;
use tracing::{debug, warn};

use super::marker::Marker;
use super::records::Records;
use super::status::{Known, status};
use super::statuses::Statuses;
use crate::clock;
use crate::cluster::{Cluster, Freshness, Watched};
use crate::guards::Guards;
use crate::history::shared::SharedHistory;
use crate::kubernetes::replica_count::{
    INSTALL_COMMAND, ObjectKey, OldHistory, ReplicaCount, ReplicaCountStatus, RequestError, WRITE_DEADLINE,
    get, write_status,
};
use crate::leadership::Leadership;
use crate::store::{Kept, ObjectView};

/// Writes in flight.
const MAX_AT_ONCE: usize = 4;
/// The time between writes: at most 100 a second.
const PACE: Duration = Duration::from_millis(10);
/// The time between two writes of one object.
const INTERVAL: Duration = Duration::from_secs(5);
/// How long a target may be overdue before statuses wait for the repairs.
const LAG: Duration = Duration::from_millis(50);
/// How soon statuses look again whether repairs are behind, and how often at most: in the end, people want to see why.
const YIELD: Duration = Duration::from_millis(100);
const MAX_YIELDS: u32 = 100;
/// How soon a write is repeated that failed.
const RETRY: Duration = Duration::from_secs(10);
/// How soon an object is looked at again whose workload has not been read yet.
const UNREAD_DELAY: Duration = Duration::from_secs(1);
/// How many times of last writes are kept before the old ones are dropped.
const KEPT_TIMES: usize = 4096;

/// Keeps the status of each object.
pub struct StatusKeeper {
    /// What may need a write.
    pub statuses: Arc<Statuses>,
    /// The objects.
    pub kept: Arc<Kept>,
    /// The desired state and the queue of repairs.
    pub marker: Marker,
    /// The observed state.
    pub cluster: Arc<Cluster>,
    /// The records of managed targets.
    pub records: Arc<Records>,
    /// The server-wide policy.
    pub policy: Arc<Policy>,
    /// What the API server keeps.
    pub guards: Arc<Guards>,
    /// What happened, which the status has for the other servers.
    pub history: SharedHistory,
    /// Whether the API server drops the history of a status: its definition of the objects is older.
    pub drops_history: AtomicBool,
    /// The right to write.
    pub leadership: Leadership,
    /// The API server.
    pub client: Client,
}

/// A status to write.
struct Wanted {
    object: ObjectView,
    status: ReplicaCountStatus,
    /// Whether the object has events that memory does not have.
    lacks_history: bool,
}

impl StatusKeeper {
    /// Runs until `shutdown`. What is not written then is written by the next process.
    pub async fn run(self, shutdown: CancellationToken) {
        self.statuses.start(Arc::clone(&self.kept));
        let mut terms = self.leadership.terms();
        let (work, mut writes) = (&self.statuses.work, FuturesUnordered::new());
        let mut last_writes: HashMap<ObjectKey, Instant> = HashMap::new();
        loop {
            tokio::select! {
                () = shutdown.cancelled() => return,
                Some(_) = terms.changed() => {
                    self.drops_history.store(false, Ordering::Relaxed);
                    self.kept.keys().into_iter().for_each(|key| self.statuses.mark_object(key));
                }
                Some(ended) = writes.next() => {
                    let (key, retry): (ObjectKey, Option<Duration>) = ended;
                    if let Some(delay) = retry {
                        work.mark_at(key.clone(), (Instant::now() + delay).into_std());
                    }
                    work.done(&key);
                }
                key = work.next(), if writes.len() < MAX_AT_ONCE => {
                    if self.is_unread(&key) {
                        work.mark_at(key.clone(), (Instant::now() + UNREAD_DELAY).into_std());
                        work.done(&key);
                        continue;
                    }
                    let due = last_writes.get(&key).map(|last| *last + INTERVAL);
                    if let Some(due) = due.filter(|due| *due > Instant::now()) {
                        work.mark_at(key.clone(), due.into_std());
                        work.done(&key);
                        continue;
                    }
                    match self.wanted(&key) {
                        None => work.done(&key),
                        Some(wanted) => {
                            if last_writes.len() >= KEPT_TIMES {
                                last_writes.retain(|_, last| last.elapsed() < INTERVAL);
                            }
                            last_writes.insert(key.clone(), Instant::now());
                            writes.push(self.write(key, wanted));
                            tokio::select! {
                                () = shutdown.cancelled() => return,
                                () = self.wait_for_turn() => {}
                            }
                        }
                    }
                }
            }
        }
    }

    /// Lets repairs go first.
    async fn wait_for_turn(&self) {
        sleep(PACE).await;
        for _ in 0..MAX_YIELDS {
            if !self.marker.work.is_behind(LAG) {
                return;
            }
            sleep(YIELD).await;
        }
    }

    /// Whether the workload of an object will be read soon. Until then, the status of the last process is the better one.
    fn is_unread(&self, key: &ObjectKey) -> bool {
        let target = self.kept.view(key).and_then(|object| object.target?.known().cloned());
        target.is_some_and(|target| {
            let freshness = self.cluster.view().freshness(Watched::Workloads(target.kind()));
            freshness == Freshness::Unread && self.policy.scope.check(&target).is_ok()
        })
    }

    /// The status to write. `None`: the object has it, or does not exist.
    fn wanted(&self, key: &ObjectKey) -> Option<Wanted> {
        // Once a term begins, all objects are marked.
        if self.leadership.term().is_none() || !self.marker.store.is_current() {
            return None;
        }
        let object = self.kept.view(key)?;
        let target = object.target.as_ref().and_then(EntryTarget::known);
        let record = target.and_then(|target| self.records.get(target)).unwrap_or_default();
        // What happened to the workload is said once, where the count is.
        let record = if object.superseded_by.is_none() { record } else { Record::default() };
        let view = self.cluster.view();
        let known = Known {
            observation: target.map_or(Observation::Unread, |target| view.observation(target)),
            autoscaler: target.and_then(|target| view.autoscaler(target)).map(|name| &**name),
            record: &record,
            is_suspended: self.guards.is_suspended(&key.namespace),
            policy: &self.policy,
            now: clock::now(),
        };
        let mut status = status(&object, &known);
        drop(view);
        let is_same = *object.status == status;
        let (history, lacks_history) =
            target.map(|target| self.new_history(&object, target)).unwrap_or_default();
        status.history = history;
        let is_due = !is_same || !status.history.is_empty();
        is_due.then_some(Wanted { object, status, lacks_history })
    }

    /// The history that an object should have; nothing if that is what it has, or none. Also whether memory lacks something
    /// that the object has and that should stay.
    fn new_history(&self, object: &ObjectView, target: &Target) -> (Vec<String>, bool) {
        if object.superseded_by.is_some() || self.drops_history.load(Ordering::Relaxed) {
            return (Vec::new(), false);
        }
        let told = object.told;
        let items = self.history.read(|history| {
            let is_new = history.of_target(target).next().is_some_and(|newest| newest.id > told.newest);
            if is_new { compact::items(history, target, told) } else { Vec::new() }
        });
        let Encoded { lines, has_room } = compact::encode(&items);
        if compact::ids(&lines).newest <= told.newest {
            return (Vec::new(), false);
        }
        let has_more = items.last().is_some_and(|oldest| (1..oldest.entry.id).contains(&told.oldest));
        (lines, has_room && has_more)
    }

    /// Reads what an object has, and adds what memory does not have to the history that it should have. Memory is bounded
    /// for all objects together, so this is rare.
    async fn complete_history(&self, key: &ObjectKey, wanted: &mut Wanted) -> Result<(), RequestError> {
        let object = &wanted.object;
        let stored = self.read(key, object).await?;
        if let Some(target) = object.target.as_ref().and_then(EntryTarget::known) {
            let memory = self.history.read(|history| compact::items(history, target, object.told));
            let old = compact::read(&stored, target, 0);
            wanted.status.history = compact::encode(&compact::join(memory, old)).lines;
        }
        Ok(())
    }

    /// Reads the history that an object has.
    async fn read(&self, key: &ObjectKey, object: &ObjectView) -> Result<Vec<String>, RequestError> {
        let stored = get(&self.client, key).await?.filter(|stored| *stored.uid() == *object.uid);
        stored.map(|stored| stored.status().history).ok_or(RequestError::NotFound)
    }

    /// Notices that the API server has dropped the history.
    fn check_history(&self, sent: &ReplicaCountStatus, stored: &ReplicaCount) {
        let is_dropped = !sent.history.is_empty() && stored.status().history.is_empty();
        if is_dropped && !self.drops_history.swap(true, Ordering::Relaxed) {
            warn!(
                command = INSTALL_COMMAND,
                "the definition of ReplicaCounts is older than this server and has no status.history, so what happened is \
                 in memory only: upgrade it"
            );
        }
    }

    /// Writes; returns the object, and how soon that must be repeated.
    async fn write(&self, key: ObjectKey, wanted: Wanted) -> (ObjectKey, Option<Duration>) {
        let retry = match self.try_write(&key, wanted).await {
            Ok(Some(())) => None,
            Ok(None) => Some(RETRY),
            Err(error) => Some(self.failed(&key, &error)),
        };
        (key, retry)
    }

    /// Writes. `None`: nobody knows whether it was written, or this server has no right to write any more.
    async fn try_write(&self, key: &ObjectKey, mut wanted: Wanted) -> Result<Option<()>, RequestError> {
        if wanted.lacks_history {
            self.complete_history(key, &mut wanted).await?;
        }
        let Wanted { object, status, .. } = wanted;
        let old_history = if status.history.is_empty() && object.told.newest > 0 {
            OldHistory::Stays
        } else {
            OldHistory::Goes
        };
        let send = async |old_history| {
            let send = async |_| write_status(&self.client, key, &object.uid, &status, old_history).await;
            self.leadership.write(WRITE_DEADLINE, send).await
        };
        let mut answer = send(old_history).await;
        // Its history may be gone without a new version, if its definition has none any more.
        if let (Ok(Err(RequestError::Conflict(_))), OldHistory::Stays) = (&answer, old_history)
            && self.read(key, &object).await?.is_empty()
        {
            answer = send(OldHistory::Goes).await;
        }
        let Ok(answer) = answer else { return Ok(None) };
        let written = answer?;
        self.statuses.metrics.writes.inc();
        self.check_history(&status, &written);
        self.kept.record_status(&written);
        Ok(Some(()))
    }

    /// Records a failure; returns how soon the write must be repeated.
    fn failed(&self, key: &ObjectKey, error: &RequestError) -> Duration {
        let retry = match error {
            // Deleted, or created anew: usually the watch shows it soon.
            RequestError::Conflict(_) | RequestError::NotFound | RequestError::NoNamespace(_) => {
                return INTERVAL;
            }
            RequestError::Throttled { retry_after, .. } => *retry_after,
            _ => RETRY,
        };
        self.statuses.metrics.failures.inc();
        if self.statuses.metrics.failures.get() == 1 {
            warn!(namespace = &*key.namespace, name = &*key.name, %error, "status not written");
        } else {
            debug!(namespace = &*key.namespace, name = &*key.name, %error, "status not written");
        }
        retry.mul_f64(1.0 + fastrand::f64())
    }
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::sync::Mutex;

    use http::{Method, Request, Response};
    use jiff::Timestamp;
    use kube::client::Body;
    use replica_count_core::event::{Event, EventKind};
    use replica_count_core::history::Bounds;
    use replica_count_core::kind::Kind;
    use replica_count_core::replicas::Replicas;
    use replica_count_core::scope::Scope;
    use replica_count_core::setting::Certainty;
    use serde_json::{Value, json};
    use tokio::time::timeout;

    use super::*;
    use crate::history;
    use crate::kubernetes::watch::Sink as _;
    use crate::store::{Rules, Store};
    use crate::work::Work;

    fn metadata(version: u64) -> Value {
        json!({
            "namespace": "shop", "name": "web", "uid": "u", "resourceVersion": version.to_string(), "generation": 1,
        })
    }

    /// Keeps the status of this object, which is marked.
    fn keeper(client: Client, object: Value, history: SharedHistory, policy: Policy) -> StatusKeeper {
        let (store, unstarted) =
            Store::open_crd(Rules { max_replicas: Replicas::MAX, authors: Certainty::Proven });
        let ignore = |_: &replica_count_core::change::Changed| {};
        let (kept, sink, _writer) = unstarted.start(client.clone(), Box::new(ignore));
        sink.begin_listing();
        sink.apply(serde_json::from_value(object).unwrap()).unwrap();
        sink.end_listing("1");
        sink.live();
        let statuses = Arc::<Statuses>::default();
        statuses.mark_object(ObjectKey { namespace: "shop".into(), name: "web".into() });
        StatusKeeper {
            history,
            drops_history: AtomicBool::default(),
            leadership: Leadership::default(),
            statuses,
            kept,
            marker: Marker { store, work: Arc::<Work>::default() },
            cluster: Arc::default(),
            records: Arc::default(),
            policy: Arc::new(policy),
            guards: Arc::default(),
            client,
        }
    }

    /// Keeps the status of an object for `shop/web`, to which the API server answers with this status code; returns how
    /// many writes there were in the first minute, and how many of them failed. After a while, the workloads are read.
    async fn keep(code: u16, message: &str, policy: Policy, are_read: bool) -> (usize, u64) {
        let writes = Arc::new(Mutex::new(0));
        let (counted, body) =
            (Arc::clone(&writes), json!({ "kind": "Status", "message": message }).to_string());
        let service = tower::service_fn(move |_: Request<Body>| {
            *counted.lock().unwrap() += 1;
            let answer = Response::builder().status(code).body(Body::from(body.clone().into_bytes()));
            async move { Ok::<_, Infallible>(answer.unwrap()) }
        });
        let object = json!({ "metadata": metadata(1), "spec": { "replicas": 3 } });
        let history = history::in_memory(Bounds::DEFAULT).0;
        let keeper = keeper(Client::new(service, "default"), object, history, policy);
        let (cluster, statuses) = (Arc::clone(&keeper.cluster), Arc::clone(&keeper.statuses));
        let read = async {
            sleep(Duration::from_secs(20)).await;
            assert!(*writes.lock().unwrap() == 0 || !are_read, "written before the workloads were read");
            if are_read {
                cluster.end_listing(Kind::Deployment);
            }
        };
        let run = keeper.run(CancellationToken::new());
        let _ = timeout(Duration::from_mins(1), async { tokio::join!(read, run) }).await;
        let count = *writes.lock().unwrap();
        (count, statuses.metrics.failures.get())
    }

    #[tokio::test(start_paused = true)]
    async fn a_status_waits_until_the_workloads_are_read() {
        let not_applied = "the server rejected our request due to an error in our request";
        assert_eq!(keep(422, not_applied, Policy::default(), false).await, (0, 0));
        // And the object of the status was created anew, as the watch will show: no failure, and tried again by the clock.
        let (writes, failures) = keep(422, not_applied, Policy::default(), true).await;
        assert!((1..=12).contains(&writes) && failures == 0, "{writes} {failures}");
        let (writes, failures) = keep(422, "status is not valid", Policy::default(), true).await;
        assert!(writes > 1 && failures > 1, "{writes} {failures}");
        // What is not watched is never read.
        let scope = Scope { only: Some("other".to_owned()), ..Scope::default() };
        let (writes, _) = keep(422, not_applied, Policy { scope, ..Policy::default() }, false).await;
        assert!((1..=12).contains(&writes), "{writes}");
    }

    /// Keeps the status of an object that had these lines when it was read, and now has `stored`; returns the requests, and
    /// the history in the last one.
    async fn keep_history(
        read: &[String],
        stored: &[String],
        history: SharedHistory,
    ) -> (Vec<Method>, Value) {
        let requests = Arc::new(Mutex::new(Vec::new()));
        let object = |version, lines: &[String]| json!({ "metadata": metadata(version), "spec": { "replicas": 3 }, "status": { "history": lines } });
        let (asked, now) = (Arc::clone(&requests), object(1, stored));
        let has_history = !stored.is_empty();
        let service = tower::service_fn(move |request: Request<Body>| {
            let (asked, now) = (Arc::clone(&asked), now.clone());
            async move {
                let method = request.method().clone();
                let body = request.into_body().collect_bytes().await.unwrap();
                let patch: Value = serde_json::from_slice(&body).unwrap_or_default();
                let is_moved = patch.to_string().contains("\"move\"");
                let (code, mut answer) = if is_moved && !has_history {
                    let message = "the server rejected our request due to an error in our request";
                    (422, json!({ "kind": "Status", "message": message }))
                } else {
                    (200, now)
                };
                if let Some(status) = patch.pointer("/1/value").filter(|_| code == 200 && !is_moved) {
                    answer["metadata"] = metadata(2);
                    answer["status"] = status.clone();
                }
                asked.lock().unwrap().push((method, patch));
                let answer =
                    Response::builder().status(code).body(Body::from(answer.to_string().into_bytes()));
                Ok::<_, Infallible>(answer.unwrap())
            }
        });
        let keeper = keeper(Client::new(service, "default"), object(1, read), history, Policy::default());
        keeper.cluster.end_listing(Kind::Deployment);
        let _ = timeout(Duration::from_mins(1), keeper.run(CancellationToken::new())).await;
        let requests = std::mem::take(&mut *requests.lock().unwrap());
        let last = requests.last().expect("a request").1.pointer("/1/value/history").cloned();
        (requests.into_iter().map(|(method, _)| method).collect(), last.unwrap_or_default())
    }

    #[tokio::test(start_paused = true)]
    async fn a_new_event_does_not_cost_an_object_what_memory_has_lost() {
        let line =
            |id: u64| json!({ "id": id, "at": "2026-01-01T00:00:00Z", "what": "drifted", "times": id });
        let old: Vec<_> = (5..8).map(|id| line(id).to_string()).collect();
        let event = || Event {
            target: Target::deployment("shop", "web").unwrap(),
            at: Timestamp::UNIX_EPOCH,
            generation: Some(1),
            kind: EventKind::Calmed,
        };
        let (history, mut recorder) = history::in_objects(Bounds::DEFAULT);
        recorder.record(&event());
        let (requests, lines) = keep_history(&old, &old, history).await;
        assert_eq!(requests, [Method::GET, Method::PATCH]);
        let lines: Vec<String> = serde_json::from_value(lines).unwrap();
        assert_eq!((lines.len(), &lines[..3]), (4, &old[..]));

        // Nothing is read if memory has all.
        let (history, mut recorder) = history::in_objects(Bounds::DEFAULT);
        recorder.record(&event());
        assert_eq!(keep_history(&[], &[], history).await.0, [Method::PATCH]);
    }

    #[tokio::test(start_paused = true)]
    async fn a_history_that_is_gone_need_not_stay() {
        let old = [json!({ "id": 5, "at": "2026-01-01T00:00:00Z", "what": "set" }).to_string()];
        let none = || history::in_objects(Bounds::DEFAULT).0;
        assert_eq!(keep_history(&old, &[], none()).await.0, [Method::PATCH, Method::GET, Method::PATCH]);
    }
}
