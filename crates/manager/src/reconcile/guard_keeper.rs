//! Keeps the guard of each namespace as the settings want it.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use kube::Client;
use replica_count_core::backoff::Backoff;
use replica_count_core::damping::Quiet;
use replica_count_core::guard::{Counts, MAX_COUNTS, Mode, Wanted, target};
use replica_count_core::policy::Policy;
use replica_count_core::setting::Enforcement;
use replica_count_core::target::Target;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::guard_metrics::GuardMetrics;
use super::marker::Marker;
use crate::clock;
use crate::cluster::{Cluster, Freshness, Watched};
use crate::guards::{Drift, Guards, PATIENCE, Snapshot};
use crate::kubernetes::guard::{self, Guard, GuardError};
use crate::leadership::{Leadership, NoAnswer};

/// Namespaces that are kept at once.
const MAX_AT_ONCE: usize = 8;
/// How often it is looked again whether a namespace has a place for its guard, and for a time that passes.
const RECHECK: Duration = Duration::from_mins(1);
/// How soon it is looked again whether the autoscalers have been read.
const AUTOSCALERS_RETRY: Duration = Duration::from_millis(200);
/// The delays between failed writes.
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(200), cap: Duration::from_mins(1) };

/// What the flags say about the guard.
#[derive(Clone, Debug)]
pub struct GuardSettings {
    /// The mode to use. `None`: `correct` where the API server can, and else `warn`.
    pub mode: Option<Mode>,
    /// How people change a count, for messages of policies.
    pub how: String,
}

/// Keeps guards.
pub struct GuardKeeper {
    /// What is known of them.
    pub guards: Arc<Guards>,
    /// What the flags say.
    pub settings: GuardSettings,
    /// The desired state and the queue of targets.
    pub marker: Marker,
    /// The observed state.
    pub cluster: Arc<Cluster>,
    /// The server-wide policy.
    pub policy: Arc<Policy>,
    /// The right to write.
    pub leadership: Leadership,
    /// The API server.
    pub client: Client,
    /// The metrics.
    pub metrics: GuardMetrics,
}

impl GuardKeeper {
    /// Runs until `shutdown`. What is given up then is repeated by the next process.
    pub async fn run(self, shutdown: CancellationToken) {
        self.mark_stored();
        if self.policy.enforcement != Enforcement::Enforce {
            let name = self.guards.name();
            warn!(name, "nothing is enforced, so nothing is guarded: the guards of this name are removed");
        }
        let (mut keeping, mut terms) = (FuturesUnordered::new(), self.leadership.terms());
        // Then counts are repaired that have waited for their guard in vain.
        let mut patience = Box::pin(tokio::time::sleep(PATIENCE).fuse());
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = &mut patience => self.marker.mark_all(),
                Some(_) = terms.changed() => {
                    self.guards.begin_term();
                    self.mark_stored();
                }
                Some(namespace) = keeping.next() => self.guards.work.done(&namespace),
                namespace = self.guards.work.next(), if keeping.len() < MAX_AT_ONCE => {
                    keeping.push(self.keep(namespace));
                }
            }
        }
    }

    /// Marks the namespaces of all stored targets.
    fn mark_stored(&self) {
        let mut namespaces: Vec<Arc<str>> = self
            .marker
            .store
            .read(|settings| settings.keys().map(|target| Arc::from(target.namespace())).collect());
        namespaces.dedup();
        for namespace in namespaces {
            self.guards.mark(&namespace);
        }
    }

    /// Brings the guard of a namespace up to date; returns the namespace, whose work is then done.
    async fn keep(&self, namespace: Arc<str>) -> Arc<str> {
        if self.leadership.term().is_none() {
            self.guards.record_kept_by_other(&namespace);
            self.guards.proofs.mark(Arc::clone(&namespace));
            return namespace;
        }
        // Otherwise it would look as if no count were stored. Once the settings are read, all guards are marked.
        if !self.marker.store.is_current() {
            return namespace;
        }
        let Some(snapshot) = self.guards.snapshot(&namespace) else {
            return namespace;
        };
        let autoscalers = self.cluster.view().freshness(Watched::Autoscalers);
        if autoscalers == Freshness::Unread && self.guards.is_patient() {
            self.recheck(&namespace, AUTOSCALERS_RETRY);
            return namespace;
        }
        let wanted = self.wanted(&namespace);
        if let Some(at) = wanted.changes_at {
            let left = Duration::try_from(at.duration_since(clock::now().wall)).unwrap_or_default();
            self.recheck(&namespace, left.min(RECHECK));
        }
        let guard = self.guard(&snapshot, &wanted);
        if let Some(at) = waits_until(&snapshot, &guard) {
            self.guards.work.mark_at(Arc::clone(&namespace), at.into_std());
            return namespace;
        }
        match self.write(&namespace, &snapshot, &guard).await {
            Ok(changed) => {
                self.settle(&namespace);
                self.guards.record_kept(&namespace, wanted.left_out > 0);
                self.mark_targets(&namespace, &changed);
                if wanted.left_out > 0 && !changed.is_empty() {
                    let left_out = wanted.left_out;
                    warn!(%namespace, limit = MAX_COUNTS, left_out, "too many counts for the guard");
                    self.marker.mark_namespace(&namespace);
                }
                self.guards.proofs.mark(Arc::clone(&namespace));
            }
            Err(error) => self.failed(&namespace, &error),
        }
        namespace
    }

    fn wanted(&self, namespace: &str) -> Wanted {
        let now = clock::now().wall;
        self.marker.store.read(|settings| {
            let view = self.cluster.view();
            let is_autoscaled = |target: &Target| view.autoscaler(target).is_some();
            Wanted::of(namespace, settings, &self.policy, is_autoscaled, now)
        })
    }

    /// What the guard should hold.
    fn guard(&self, snapshot: &Snapshot, wanted: &Wanted) -> Guard {
        Guard {
            mode: Some(snapshot.mode),
            is_suspended: snapshot.held.as_ref().is_some_and(|held| held.guard.is_suspended),
            how: self.settings.how.clone(),
            counts: wanted.counts.clone(),
        }
    }

    /// Writes the guard, if it does not hold what is wanted; returns the keys of counts that changed.
    async fn write(
        &self,
        namespace: &str,
        snapshot: &Snapshot,
        guard: &Guard,
    ) -> Result<Vec<String>, GuardError> {
        let name = self.guards.name();
        match &snapshot.held {
            _ if is_kept(snapshot, guard) => return Ok(Vec::new()),
            // A suspended guard is what somebody wants to find again.
            Some(held) if guard.counts.is_empty() && !held.guard.is_suspended => {
                self.guards.record_writing(namespace, None);
                let send = async |_| guard::delete(&self.client, namespace, name, &held.identity).await;
                self.leadership.write(guard::DEADLINE, send).await.map_err(unanswered)??;
                self.guards.record_written(namespace, None);
            }
            Some(_) | None => {
                self.guards.record_writing(namespace, Some(guard));
                let send = async |time| guard::apply(&self.client, namespace, name, guard, time).await;
                let written = self.leadership.write(guard::DEADLINE, send).await.map_err(unanswered)??;
                self.guards.record_written(namespace, Some(&written));
            }
        }
        self.metrics.writes.inc();
        self.put_back(namespace, snapshot);
        let before = snapshot.held.as_ref().map(|held| &held.guard.counts);
        Ok(differences(before, &guard.counts))
    }

    /// What others had changed was put back.
    fn put_back(&self, namespace: &str, snapshot: &Snapshot) {
        let Some(drift) = &snapshot.drift else { return };
        let by = match drift {
            Drift::Content { by } => by.as_deref(),
            // Only now it is known that the namespace is still there.
            Drift::Deletion => {
                self.metrics.drifts.inc();
                warn!(namespace, "the guard was deleted: it has been put back");
                None
            }
        };
        if let Some(wait) = self.guards.record_repair(namespace, fastrand::f64()) {
            let by = by.unwrap_or("unknown");
            warn!(namespace, by, ?wait, "the guard is contested: somebody keeps changing it");
        }
    }

    /// The guard is as wanted.
    fn settle(&self, namespace: &Arc<str>) {
        match self.guards.record_quiet(namespace) {
            Quiet::None => {}
            Quiet::EndsAt(at) => self.guards.work.mark_at(Arc::clone(namespace), at),
            Quiet::Ended => info!(%namespace, "the guard is no longer contested"),
        }
    }

    fn failed(&self, namespace: &Arc<str>, error: &GuardError) {
        let failures = self.guards.record_failure(namespace);
        if matches!(error, GuardError::Changed(_)) {
            // The watch shows the newer object, if it works.
            debug!(%namespace, %error, "the guard has changed meanwhile");
            self.guards.record_not_written(namespace);
            self.recheck(namespace, BACKOFF.delay(failures, fastrand::f64()));
            return;
        }
        if matches!(error, GuardError::NoPlace(_)) {
            debug!(%namespace, %error, "no guard");
            self.guards.record_no_place(namespace);
            self.recheck(namespace, RECHECK);
        } else {
            self.metrics.failures.inc();
            if failures == 1 {
                warn!(%namespace, %error, "the guard could not be written");
            }
            self.recheck(namespace, BACKOFF.delay(failures, fastrand::f64()));
        }
        self.marker.mark_namespace(namespace);
    }

    fn mark_targets(&self, namespace: &str, keys: &[String]) {
        for target in keys.iter().filter_map(|key| target(namespace, key)) {
            self.marker.mark(&target);
        }
    }

    fn recheck(&self, namespace: &Arc<str>, delay: Duration) {
        self.guards.work.mark_at(Arc::clone(namespace), (Instant::now() + delay).into_std());
    }
}

/// There was no answer before the term may have ended.
fn unanswered(_: NoAnswer) -> GuardError {
    GuardError::Unreachable("no answer in time".to_owned())
}

/// Whether nothing has to be written for the guard to hold this.
fn is_kept(snapshot: &Snapshot, guard: &Guard) -> bool {
    snapshot.held.as_ref().map_or(guard.counts.is_empty(), |held| held.guard.is_same_as(guard))
}

/// When the guard may be written, if that has to wait: only what others keep changing does, and not a new setting.
fn waits_until(snapshot: &Snapshot, guard: &Guard) -> Option<Instant> {
    let was_written = match &snapshot.written {
        Some(written) => written.is_same_as(guard),
        None => guard.counts.is_empty(),
    };
    snapshot.next_repair.filter(|_| snapshot.drift.is_some() && was_written && !is_kept(snapshot, guard))
}

/// The keys of counts that are not the same in both.
fn differences(before: Option<&Counts>, after: &Counts) -> Vec<String> {
    let empty = Counts::new();
    let before = before.unwrap_or(&empty);
    let changed = after.iter().filter(|(key, kept)| before.get(*key) != Some(*kept)).map(|(key, _)| key);
    let removed = before.keys().filter(|key| !after.contains_key(*key));
    changed.chain(removed).cloned().collect()
}

#[cfg(test)]
mod tests {
    use replica_count_core::guard::Kept;
    use replica_count_core::replicas::Replicas;

    use super::*;
    use crate::guards::{Held, Identity};

    fn guard(replicas: i32) -> Guard {
        let kept = Kept { replicas: Replicas::new(replicas).unwrap(), set_by: None, reason: None };
        let counts = Counts::from([("deployments/web".to_owned(), kept)]);
        Guard { mode: Some(Mode::Deny), is_suspended: false, how: String::new(), counts }
    }

    #[tokio::test]
    async fn only_what_others_keep_changing_waits() {
        let identity = Identity { uid: "u".into(), resource_version: None };
        let held = |guard| Some(Held { guard, version: None, identity: identity.clone() });
        let next = Instant::now() + Duration::from_mins(1);
        let contested = |current| Snapshot {
            held: current,
            written: Some(guard(3)),
            drift: Some(Drift::Content { by: None }),
            next_repair: Some(next),
            mode: Mode::Deny,
        };
        assert_eq!(waits_until(&contested(held(guard(9))), &guard(3)), Some(next));
        assert_eq!(waits_until(&contested(None), &guard(3)), Some(next), "deleted");
        assert_eq!(waits_until(&contested(held(guard(9))), &guard(4)), None, "a new setting");
        assert_eq!(waits_until(&contested(held(guard(3))), &guard(3)), None, "put back by somebody");
        let free = Snapshot { next_repair: None, ..contested(held(guard(9))) };
        assert_eq!(waits_until(&free, &guard(3)), None);
        let empty = Guard { counts: Counts::new(), ..guard(3) };
        let lifted = Snapshot { written: None, ..contested(held(guard(9))) };
        assert_eq!(waits_until(&lifted, &empty), Some(next), "somebody makes it again and again");
    }
}
