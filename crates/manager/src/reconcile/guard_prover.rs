//! Proves that guards are in force, and looks at what the API server can do.
//!
//! A proof may take seconds, so it has its own limit, and delays neither a repair nor the write of a guard.

use std::sync::Arc;
use std::time::Duration;

use futures_util::future::FusedFuture;
use futures_util::stream::FuturesUnordered;
use futures_util::{FutureExt, StreamExt};
use kube::Client;
use replica_count_core::backoff::Backoff;
use replica_count_core::guard::{Counts, Mode, target};
use tokio::sync::Notify;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tracing::{debug, info, warn};

use super::guard_metrics::GuardMetrics;
use super::marker::Marker;
use crate::cluster::Cluster;
use crate::guards::summary::Summary;
use crate::guards::{Guards, Subject};
use crate::kubernetes::guard::{self, GuardError, Lack, Proof, Trial};

/// Proofs at once.
const MAX_PROOFS: usize = 4;
/// How often it is proven that a guard is in force, and asked what the API server can do.
const INTERVAL: Duration = Duration::from_mins(1);
/// After a write, a guard is in force within 5 to 20 ms, and longer on a busy API server.
const TRIALS: [Duration; 5] = [
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
    Duration::from_millis(300),
];
/// How soon the API server is asked again what it can do, because it did not answer or a proof has failed.
const CHECK_RETRY: Duration = Duration::from_secs(5);
/// How soon a trial is repeated that has shown nothing, or for which there was no workload.
const TRIAL_RETRY: Duration = Duration::from_secs(5);
/// The delays between trials of a guard that is not in force.
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(200), cap: INTERVAL };

/// Proves guards.
pub struct GuardProver {
    /// What is known of them.
    pub guards: Arc<Guards>,
    /// The mode to use. `None`: `correct` where the API server can, and else `warn`.
    pub mode: Option<Mode>,
    /// The queue of targets.
    pub marker: Marker,
    /// The observed state.
    pub cluster: Arc<Cluster>,
    /// The API server.
    pub client: Client,
    /// The metrics.
    pub metrics: GuardMetrics,
    /// Whether a proof has failed.
    pub failed: Notify,
}

impl GuardProver {
    /// Runs until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut proving = FuturesUnordered::new();
        let (mut checked_at, mut check_at) = (Instant::now(), Instant::now());
        let mut checking = Box::pin(self.check().fuse());
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                () = tokio::time::sleep_until(check_at), if checking.is_terminated() => {
                    checking = Box::pin(self.check().fuse());
                }
                is_known = &mut checking => {
                    checked_at = Instant::now();
                    check_at = checked_at + if is_known { INTERVAL } else { CHECK_RETRY };
                }
                () = self.failed.notified() => check_at = check_at.min(checked_at + CHECK_RETRY),
                Some(namespace) = proving.next() => self.guards.proofs.done(&namespace),
                namespace = self.guards.proofs.next(), if proving.len() < MAX_PROOFS => {
                    proving.push(self.prove(namespace));
                }
            }
        }
    }

    /// Asks what the API server can do, and why guards are not in force; returns whether it has answered.
    async fn check(&self) -> bool {
        let (mode, fallback) = match self.choose_mode().await {
            Ok(chosen) => chosen,
            Err(error) => {
                debug!(%error, "cannot ask what the API server can do");
                return false;
            }
        };
        if self.guards.set_mode(mode) {
            info!(mode = mode.as_str(), "guard");
            self.metrics.show_mode(mode);
            self.guards.mark_all();
        }
        let lack = if Summary::of(&self.guards).inactive > 0 {
            match guard::diagnose(&self.client, self.guards.name(), mode).await {
                Ok(lack) => Some(lack),
                Err(error) => {
                    debug!(%error, "cannot ask why the guard is not in force");
                    return false;
                }
            }
        } else {
            fallback
        };
        self.show(lack.as_ref());
        true
    }

    /// What policies are to do: what was wanted, or else to warn, and then what is missing.
    async fn choose_mode(&self) -> Result<(Mode, Option<Lack>), GuardError> {
        let wanted = self.mode.unwrap_or(Mode::Correct);
        let lack = match wanted {
            Mode::Warn => None,
            Mode::Deny | Mode::Correct => {
                guard::missing_for(&self.client, self.guards.name(), wanted).await?
            }
        };
        Ok((if lack.is_some() { Mode::Warn } else { wanted }, lack))
    }

    /// Tells what is missing, if that is new.
    fn show(&self, lack: Option<&Lack>) {
        self.metrics.show_lack(lack);
        let why = lack.map(ToString::to_string);
        let is_new = self.guards.set_lack(why.as_deref());
        if is_new {
            // What has changed may have put guards in force, or out of it.
            self.guards.mark_proofs();
        }
        match why {
            // With the mode `auto`, that is as it should be.
            Some(why) if is_new && self.mode.is_none() && Summary::of(&self.guards).inactive == 0 => {
                info!(why, "the guard only warns");
            }
            Some(why) if is_new => warn!(why, "the guard does not do what it should"),
            Some(_) | None => {}
        }
    }

    /// Proves that the guard of a namespace is in force, if that is due; returns the namespace, whose work is then done.
    async fn prove(&self, namespace: Arc<str>) -> Arc<str> {
        let Some(subject) = self.guards.subject(&namespace, INTERVAL) else { return namespace };
        if let Some(due) = subject.due {
            self.guards.proofs.mark_at(Arc::clone(&namespace), due.into_std());
            return namespace;
        }
        let delay = match self.trial(&namespace, &subject.counts, subject.mode) {
            Some(trial) => {
                let proof = self.try_guard(&namespace, &trial, subject.is_inactive).await;
                self.record(&namespace, &subject, proof)
            }
            None => TRIAL_RETRY,
        };
        self.guards.proofs.mark_at(Arc::clone(&namespace), (Instant::now() + delay).into_std());
        namespace
    }

    async fn try_guard(&self, namespace: &str, trial: &Trial, was_inactive: bool) -> Proof {
        // What was not in force before is not waited for.
        let trials = if was_inactive { &TRIALS[..1] } else { &TRIALS[..] };
        let mut proof = Proof::Unknown;
        for delay in trials {
            tokio::time::sleep(*delay).await;
            match guard::prove(&self.client, trial).await {
                Ok(shown) => proof = shown,
                Err(error) => {
                    debug!(namespace, %error, "cannot try the guard");
                    break;
                }
            }
            if proof == Proof::Active {
                break;
            }
        }
        proof
    }

    /// Records what a proof has shown; returns when to make the next one.
    fn record(&self, namespace: &str, subject: &Subject, proof: Proof) -> Duration {
        let mode = subject.mode.as_str();
        match proof {
            Proof::Active => {
                if self.guards.record_active(namespace, subject.version) {
                    info!(namespace, mode, counts = subject.counts.len(), "the guard is in force");
                    self.marker.mark_namespace(namespace);
                    self.failed.notify_one();
                }
                INTERVAL
            }
            // That says nothing, so the earlier proof still holds.
            Proof::Unknown => TRIAL_RETRY,
            Proof::Inactive => {
                let trials = self.guards.record_inactive(namespace, subject.version);
                if trials == 1 {
                    warn!(namespace, mode, "the guard is not in force");
                    self.marker.mark_namespace(namespace);
                }
                self.failed.notify_one();
                BACKOFF.delay(trials.max(1), fastrand::f64())
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
}
