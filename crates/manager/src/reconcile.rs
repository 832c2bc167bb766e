//! The one path to a repair: take a target that is due, decide, write, take note of the outcome.
//!
//! Decisions are made here one after the other; only writes overlap, at most [`MAX_WRITES`] at once.

#[cfg(test)]
mod tests;

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use kube::Client;
use replica_count_core::backoff::Backoff;
use replica_count_core::decide::{Decision, Policy, Repair, decide};
use replica_count_core::history::{Drift, Failure, History, Sighting};
use replica_count_core::replicas::Replicas;
use replica_count_core::setting::Setting;
use replica_count_core::state::State;
use replica_count_core::target::Target;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::clock;
use crate::cluster::Cluster;
use crate::kubernetes::scale::{self, WriteError};
use crate::report::{Report, Settled};
use crate::store::Store;
use crate::work::Work;

/// Writes under way at once: enough to use a fast API server, few enough to leave it to others.
const MAX_WRITES: usize = 32;
/// How long to wait after a failed write.
const BACKOFF: Backoff = Backoff { base: Duration::from_millis(50), cap: Duration::from_secs(30) };
/// A stale decision is made anew as soon as the watch shows more, unless it was stale this often in a row.
pub const STALE_IN_A_ROW: u32 = 3;
/// How often every managed target is looked at again, from memory.
const RESYNC: Duration = Duration::from_mins(5);
/// A wait for a time of the wall clock is cut into pieces, as that clock may be set.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// What happened to each managed target since the process started.
#[derive(Debug, Default)]
pub struct Histories(Mutex<HashMap<Target, History>>);

impl Histories {
    /// What happened to one target.
    pub fn get(&self, target: &Target) -> Option<History> {
        self.lock().get(target).cloned()
    }

    /// Starts the history of a target that is managed from the start of the process.
    pub fn begin(&self, target: Target, desired: Replicas) {
        self.lock().insert(target, History::of_stored_setting(desired));
    }

    /// Keeps histories for exactly what is managed: call it when a setting was stored or forgotten. A new setting does
    /// not wait for the failures of the one before.
    pub fn follow(&self, target: &Target, is_managed: bool) {
        if is_managed {
            self.lock().entry(target.clone()).or_default().forgive_for_new_setting();
        } else {
            self.lock().remove(target);
        }
    }

    /// The watch works again: forgets the failures that this cures, and returns the targets that had some.
    pub fn forgive_for_contact(&self) -> Vec<Target> {
        let mut histories = self.lock();
        let cured = histories
            .iter_mut()
            .filter_map(|(target, history)| history.forgive_for_contact().then(|| target.clone()));
        cured.collect()
    }

    fn update<T>(&self, target: &Target, update: impl FnOnce(&mut History) -> T) -> Option<T> {
        self.lock().get_mut(target).map(update)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<Target, History>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Puts drift back.
pub struct Reconciler {
    /// What is desired.
    pub store: Store,
    /// What is observed.
    pub cluster: Arc<Cluster>,
    /// What is due.
    pub work: Arc<Work>,
    /// What happened.
    pub histories: Arc<Histories>,
    /// What the whole server was told.
    pub policy: Arc<Policy>,
    /// The API server.
    pub client: Client,
    /// Who is told.
    pub report: Report,
}

impl Reconciler {
    /// Works until `shutdown`; writes under way then are finished.
    pub async fn run(self, shutdown: CancellationToken) {
        let mut writes = FuturesUnordered::new();
        let mut resync = tokio::time::interval(RESYNC);
        resync.set_missed_tick_behavior(tokio::time::MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                _ = resync.tick() => self.mark_all(),
                () = self.cluster.listed() => self.mark_all(),
                Some(target) = writes.next() => self.work.done(&target),
                target = self.work.next(), if writes.len() < MAX_WRITES => match self.decide(&target) {
                    Some(repair) => writes.push(self.write(target, repair)),
                    None => self.work.done(&target),
                },
            }
        }
        while writes.next().await.is_some() {}
    }

    fn mark_all(&self) {
        let managed: Vec<Target> = self.store.read(|settings| settings.keys().cloned().collect());
        for target in managed {
            self.work.mark(target);
        }
    }

    /// Decides what to do about a target and does all of it but the write.
    fn decide(&self, target: &Target) -> Option<Repair> {
        let setting = self.store.get(target)?;
        let now = clock::now();
        let decision = {
            let view = self.cluster.view();
            self.histories.update(target, |history| {
                decide(target, &setting, view.observation(target), history, &self.policy, now)
            })?
        };
        match decision {
            Decision::Rest(state) => {
                match state {
                    State::InSync => self.note_in_effect(target, setting.replicas, Settled::InSync),
                    State::Missing => {
                        self.histories.update(target, History::record_missing);
                    }
                    State::Unknown
                    | State::Unmanaged
                    | State::Drifted
                    | State::Ignored
                    | State::OutOfScope => {}
                }
                None
            }
            Decision::Ignore { drift, until } => {
                self.note_drift(target, drift.as_ref(), &setting);
                if let Some(until) = until {
                    let left = Duration::try_from(until.duration_since(now.wall)).unwrap_or_default();
                    self.work.mark_after(target.clone(), left.min(LONGEST_WAIT));
                }
                None
            }
            Decision::Wait { until, drift } => {
                self.note_drift(target, drift.as_ref(), &setting);
                self.work.mark_at(target.clone(), until);
                None
            }
            Decision::Repair(repair) => {
                self.note_drift(target, repair.drift.as_ref(), &setting);
                Some(repair)
            }
        }
    }

    fn note_drift(&self, target: &Target, drift: Option<&Drift>, setting: &Setting) {
        let Some(drift) = drift else { return };
        match self.histories.update(target, |history| history.record_drift(drift)) {
            Some(Sighting::New { instead_of }) => {
                if let Some(before) = instead_of {
                    self.report.settled(target, &before, Settled::Replaced);
                }
                self.report.drifted(target, drift, setting);
            }
            Some(Sighting::Known) | None => {}
        }
    }

    /// The cluster has the desired count, and no answer says that we put a drift back.
    fn note_in_effect(&self, target: &Target, desired: Replicas, how: Settled) {
        let ended = self.histories.update(target, |history| history.record_in_effect(desired));
        if let Some(drift) = ended.flatten() {
            self.report.settled(target, &drift, how);
        }
    }

    /// Writes and takes note of the outcome; returns the target, on which the work is then done.
    async fn write(&self, target: Target, repair: Repair) -> Target {
        let started = Instant::now();
        match scale::write(&self.client, &target, &repair).await {
            Ok(written) => {
                if let Some(written) = written {
                    self.cluster.record_write(&target, &repair.uid, written, repair.to);
                }
                match repair.drift {
                    Some(_) => {
                        self.histories.update(&target, |history| history.record_in_effect(repair.to));
                    }
                    None => self.note_in_effect(&target, repair.to, Settled::Set),
                }
                self.report.written(&target, &repair, started.elapsed());
            }
            Err(error) => self.failed(&target, &repair, &error),
        }
        target
    }

    fn failed(&self, target: &Target, repair: &Repair, error: &WriteError) {
        let noted = self.histories.update(target, |history| {
            let row = history.record_failure(&repair.uid, kind(error));
            let mut delay = BACKOFF.delay(row.in_a_row, fastrand::f64());
            if let WriteError::Throttled { retry_after: Some(asked), .. } = error {
                delay = delay.max(*asked);
            }
            let retry_at = (Instant::now() + delay).into_std();
            if row.last != Failure::Stale || row.alike >= STALE_IN_A_ROW {
                row.retry_at = Some(retry_at);
            }
            (retry_at, delay, row.clone())
        });
        let Some((retry_at, delay, row)) = noted else {
            return;
        };
        self.report.failed(target, repair, error, &row, delay);
        self.work.mark_at(target.clone(), retry_at);
    }
}

fn kind(error: &WriteError) -> Failure {
    match error {
        WriteError::Stale(_) => Failure::Stale,
        WriteError::Throttled { .. } => Failure::Throttled,
        WriteError::Forbidden(_) => Failure::Forbidden,
        WriteError::Refused(_) => Failure::Refused,
        WriteError::Failed(_) => Failure::Failed,
        WriteError::Unreachable(_) => Failure::Unreachable,
        WriteError::Deadline => Failure::Deadline,
    }
}
