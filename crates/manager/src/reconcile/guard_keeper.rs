//! Keeps the guard of each namespace as the settings want it, and proves that it is in force.

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use kube::Client;
use replica_count_core::backoff::Backoff;
use replica_count_core::guard::{Counts, MAX_COUNTS, Mode, Wanted, target};
use replica_count_core::policy::Policy;
use replica_count_core::target::Target;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::guard_metrics::GuardMetrics;
use super::marker::Marker;
use crate::clock;
use crate::cluster::{Cluster, Freshness, Watched};
use crate::guards::summary::Summary;
use crate::guards::{Guards, PATIENCE, Snapshot};
use crate::kubernetes::guard::{self, Guard, GuardError, Proof, Trial};

/// Namespaces that are kept at once.
const MAX_AT_ONCE: usize = 8;
/// How often it is proven that a guard is in force, and asked what the API server can do.
const PROOF_INTERVAL: Duration = Duration::from_mins(1);
/// After a write, a guard is in force within 5 to 20 ms, and longer on a busy API server.
const TRIALS: [Duration; 5] = [
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(300),
];
/// How soon the API server is asked again what it can do.
const MODE_RETRY: Duration = Duration::from_secs(5);
/// How soon a trial is repeated that has shown nothing, or for which there was no workload.
const TRIAL_RETRY: Duration = Duration::from_secs(5);
/// How soon it is looked again whether the autoscalers have been read.
const AUTOSCALERS_RETRY: Duration = Duration::from_millis(200);
/// The delays between failed writes, and between trials of a guard that is not in force.
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
    /// The API server.
    pub client: Client,
    /// The metrics.
    pub metrics: GuardMetrics,
}

impl GuardKeeper {
    /// Runs until `shutdown`. What is given up then is repeated by the next process.
    pub async fn run(self, shutdown: CancellationToken) {
        self.mark_stored();
        let mut keeping = FuturesUnordered::new();
        let mut checks = tokio::time::interval(PROOF_INTERVAL);
        checks.set_missed_tick_behavior(MissedTickBehavior::Delay);
        // Then counts are repaired that have waited for their guard in vain.
        let mut patience = Box::pin(tokio::time::sleep(PATIENCE).fuse());
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = checks.tick() => tokio::select! {
                    () = shutdown.cancelled() => break,
                    is_chosen = self.choose_mode() => if !is_chosen {
                        checks.reset_after(MODE_RETRY);
                    },
                },
                () = &mut patience => self.marker.mark_all(),
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

    /// Chooses what policies are to do, by what the API server can do; returns whether that was possible.
    async fn choose_mode(&self) -> bool {
        let mode = match self.settings.mode {
            Some(mode @ (Mode::Warn | Mode::Deny)) => mode,
            wanted @ (None | Some(Mode::Correct)) => {
                match guard::can_correct(&self.client, self.guards.name()).await {
                    Ok(true) => Mode::Correct,
                    Ok(false) => {
                        if wanted.is_some() && Summary::of(&self.guards).mode.is_none() {
                            warn!(
                                "the API server cannot correct counts, which needs Kubernetes 1.36 and the policy of the \
                             chart: the guard warns"
                            );
                        }
                        Mode::Warn
                    }
                    Err(error) => {
                        debug!(%error, "cannot ask what the API server can do");
                        return false;
                    }
                }
            }
        };
        if self.guards.set_mode(mode) {
            info!(mode = mode.as_str(), "guard");
            self.guards.mark_all();
        }
        true
    }

    /// Brings the guard of a namespace up to date; returns the namespace, whose work is then done.
    async fn keep(&self, namespace: Arc<str>) -> Arc<str> {
        // Otherwise it would look as if no count were stored. Once the settings are read, all guards are marked.
        if !self.marker.store.is_current() {
            return namespace;
        }
        let Some(snapshot) = self.guards.snapshot(&namespace, PROOF_INTERVAL) else {
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
            self.recheck(&namespace, left.min(PROOF_INTERVAL));
        }
        match self.write(&namespace, &snapshot, &wanted).await {
            Ok(changed) => {
                self.guards.record_kept(&namespace, wanted.left_out > 0);
                self.mark_targets(&namespace, &changed);
                if wanted.left_out > 0 && !changed.is_empty() {
                    let left_out = wanted.left_out;
                    warn!(%namespace, limit = MAX_COUNTS, left_out, "too many counts for the guard");
                    self.marker.mark_namespace(&namespace);
                }
                self.prove(&namespace, &snapshot, &wanted.counts).await;
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

    /// Writes the guard, if it does not hold what is wanted; returns the keys of counts that changed.
    async fn write(
        &self,
        namespace: &str,
        snapshot: &Snapshot,
        wanted: &Wanted,
    ) -> Result<Vec<String>, GuardError> {
        let guard = Guard {
            mode: Some(snapshot.mode),
            is_suspended: snapshot.held.as_ref().is_some_and(|held| held.is_suspended),
            how: self.settings.how.clone(),
            counts: wanted.counts.clone(),
        };
        let name = self.guards.name();
        match &snapshot.held {
            Some(held) if held.is_same_as(&guard) => return Ok(Vec::new()),
            None if guard.counts.is_empty() => return Ok(Vec::new()),
            // A suspended guard is what somebody wants to find again.
            Some(held) if guard.counts.is_empty() && !held.is_suspended => {
                self.guards.record_writing(namespace, None);
                guard::delete(&self.client, namespace, name).await?;
                self.guards.record_written(namespace, None);
            }
            Some(_) | None => {
                self.guards.record_writing(namespace, Some(&guard));
                let written = guard::apply(&self.client, namespace, name, &guard).await?;
                self.guards.record_written(namespace, Some(&written));
            }
        }
        self.metrics.writes.inc();
        let before = snapshot.held.as_ref().map(|held| &held.counts);
        Ok(differences(before, &guard.counts))
    }

    fn failed(&self, namespace: &Arc<str>, error: &GuardError) {
        let failures = self.guards.record_failure(namespace);
        if matches!(error, GuardError::NoPlace(_)) {
            debug!(%namespace, %error, "no guard");
            self.recheck(namespace, PROOF_INTERVAL);
        } else {
            self.metrics.failures.inc();
            if failures == 1 {
                warn!(%namespace, %error, "the guard could not be written");
            }
            self.recheck(namespace, BACKOFF.delay(failures, fastrand::f64()));
        }
        self.marker.mark_namespace(namespace);
    }

    /// Proves that the guard is in force, if that is due.
    async fn prove(&self, namespace: &Arc<str>, snapshot: &Snapshot, counts: &Counts) {
        if counts.is_empty() || self.guards.is_suspended(namespace) {
            return;
        }
        let Some(trial) = self.trial(namespace, counts, snapshot.mode).filter(|_| snapshot.is_proof_due)
        else {
            self.recheck(namespace, if snapshot.is_proof_due { TRIAL_RETRY } else { PROOF_INTERVAL });
            return;
        };
        // What was not in force before is not waited for.
        let trials = if snapshot.is_inactive { &TRIALS[..1] } else { &TRIALS[..] };
        let mut proof = Proof::Unknown;
        for delay in trials {
            tokio::time::sleep(*delay).await;
            match guard::prove(&self.client, &trial).await {
                Ok(shown) => proof = shown,
                Err(error) => {
                    debug!(%namespace, %error, "cannot try the guard");
                    break;
                }
            }
            if proof == Proof::Active {
                break;
            }
        }
        let mode = snapshot.mode.as_str();
        match proof {
            Proof::Active => {
                if self.guards.record_active(namespace) {
                    info!(%namespace, mode, counts = counts.len(), "the guard is in force");
                    self.marker.mark_namespace(namespace);
                }
                self.recheck(namespace, PROOF_INTERVAL);
            }
            // That says nothing, so the earlier proof still holds.
            Proof::Unknown => self.recheck(namespace, TRIAL_RETRY),
            Proof::Inactive => {
                let trials = self.guards.record_inactive(namespace);
                if trials == 1 {
                    warn!(%namespace, mode, "the guard is not in force: are its policies installed?");
                    self.marker.mark_namespace(namespace);
                }
                self.recheck(namespace, BACKOFF.delay(trials, fastrand::f64()));
            }
        }
    }

    /// A trial with a target that exists.
    fn trial(&self, namespace: &str, counts: &Counts, mode: Mode) -> Option<Trial> {
        let view = self.cluster.view();
        counts.iter().find_map(|(key, kept)| {
            let target = target(namespace, key)?;
            let observation = view.observation(&target);
            let observed = observation.present().filter(|_| observation.is_alive())?.replicas;
            Some(Trial { target, kept: kept.replicas, observed, mode })
        })
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

/// The keys of counts that are not the same in both.
fn differences(before: Option<&Counts>, after: &Counts) -> Vec<String> {
    let empty = Counts::new();
    let before = before.unwrap_or(&empty);
    let changed = after.iter().filter(|(key, kept)| before.get(*key) != Some(*kept)).map(|(key, _)| key);
    let removed = before.keys().filter(|key| !after.contains_key(*key));
    changed.chain(removed).cloned().collect()
}
