//! The one path to a repair: take a target that is due, decide, write, take note of the outcome.
//!
//! Decisions are made here one after the other; only writes overlap, at most [`MAX_WRITES`] at once.

#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::FuturesUnordered;
use kube::Client;
use replica_count_core::backoff::Moment;
use replica_count_core::damping::Truce;
use replica_count_core::decide::{Decision, Policy, Repair, decide};
use replica_count_core::failures::Failure;
use replica_count_core::history::{Drift, History, Sighting};
use replica_count_core::setting::Setting;
use replica_count_core::state::State;
use replica_count_core::target::Target;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::cluster::Cluster;
use crate::kubernetes::scale::{self, WriteError};
use crate::reconcile::clock;
use crate::reconcile::records::Records;
use crate::reconcile::report::{Loudness, Report, Settled};
use crate::reconcile::work::Work;
use crate::store::Store;

/// Writes under way at once: enough to use a fast API server, few enough to leave it to others.
const MAX_WRITES: usize = 32;
/// How often every managed target is looked at again, from memory.
const RESYNC: Duration = Duration::from_mins(5);
/// A wait for a time of the wall clock is cut into pieces, as that clock may be set.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// Puts drift back.
pub struct Reconciler {
    /// What is desired.
    pub store: Store,
    /// What is observed.
    pub cluster: Arc<Cluster>,
    /// What is due.
    pub work: Arc<Work>,
    /// What happened.
    pub records: Arc<Records>,
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
        let (decision, new_autoscaler) = {
            let view = self.cluster.view();
            self.records.update(target, |history| {
                let is_new = history.record_autoscaler(view.autoscaler(target));
                let decision = decide(target, &setting, view.observation(target), history, &self.policy, now);
                (decision, is_new.then(|| history.autoscaler.clone()))
            })?
        };
        if let Some(autoscaler) = new_autoscaler {
            self.report.autoscaled(target, autoscaler.as_deref());
        }
        match decision {
            Decision::Rest(state) => match state {
                State::Missing => {
                    self.records.update(target, History::record_missing);
                    self.note_quiet(target);
                }
                State::Unknown
                | State::Unmanaged
                | State::InSync
                | State::Drifted
                | State::Contested
                | State::Autoscaled
                | State::Ignored
                | State::OutOfScope => {}
            },
            Decision::InEffect => {
                let ended = self.note(target, |history| history.record_in_effect(setting.replicas, moment()));
                self.settled(target, ended.flatten(), Settled::InSync);
                self.note_quiet(target);
            }
            Decision::Ignore { drift, until } => {
                self.note_drift(target, drift.as_ref(), &setting);
                if let Some(until) = until {
                    let left = Duration::try_from(until.duration_since(now.wall)).unwrap_or_default();
                    self.work.mark_after(target.clone(), left.min(LONGEST_WAIT));
                }
            }
            Decision::Wait { until, drift } => {
                self.note_drift(target, drift.as_ref(), &setting);
                self.work.mark_at(target.clone(), until);
            }
            Decision::Repair(repair) => {
                self.note_drift(target, repair.drift.as_ref(), &setting);
                return Some(repair);
            }
        }
        None
    }

    /// Changes a history, and tells people if a contest begins with that.
    fn note<T>(&self, target: &Target, change: impl FnOnce(&mut History) -> T) -> Option<T> {
        let (noted, begun) = self.records.update(target, |history| {
            let before = history.damping;
            let noted = change(history);
            let contest = history.damping.contest().filter(|_| before.contest().is_none());
            (noted, contest.map(|contest| (contest.next_repair, history.last.clone())))
        })?;
        if let Some((next_repair, drift)) = begun {
            self.report.contested(target, drift.as_ref(), next_repair.into());
        }
        Some(noted)
    }

    fn note_drift(&self, target: &Target, drift: Option<&Drift>, setting: &Setting) {
        let Some(drift) = drift else { return };
        let sighting = self.records.update(target, |history| {
            let loudness = Loudness::of(&history.damping);
            (history.record_drift(drift, clock::now().monotonic), loudness)
        });
        match sighting {
            Some((Sighting::New { instead_of }, loudness)) => {
                if let Some(before) = instead_of {
                    self.report.settled(target, &before, Settled::Replaced, loudness);
                }
                self.report.drifted(target, drift, setting, loudness);
            }
            Some((Sighting::Known, _)) | None => {}
        }
    }

    /// A drift may have ended without an answered repair.
    fn settled(&self, target: &Target, ended: Option<Drift>, how: Settled) {
        if let Some(drift) = ended {
            self.report.settled(target, &drift, how, Loudness::Normal);
        }
    }

    /// There is no drift: a contest ends if that has been so for long enough, or is looked at again when it will have.
    fn note_quiet(&self, target: &Target) {
        let now = clock::now().monotonic;
        match self.records.update(target, |history| history.damping.record_quiet(now)) {
            Some(Truce::Until(end)) => self.work.mark_at(target.clone(), end),
            Some(Truce::Peace) => self.report.calmed(target),
            Some(Truce::Calm) | None => {}
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
                self.report.written(&target, &repair, started.elapsed());
                if repair.drift.is_some() {
                    self.note(&target, |history| history.record_repaired(repair.to, moment()));
                } else {
                    let ended = self.note(&target, |history| history.record_applied(repair.to));
                    self.settled(&target, ended.flatten(), Settled::Set);
                }
            }
            Err(error) => self.failed(&target, &repair, &error),
        }
        target
    }

    fn failed(&self, target: &Target, repair: &Repair, error: &WriteError) {
        let at_least = match error {
            WriteError::Throttled { retry_after, .. } => retry_after.unwrap_or_default(),
            WriteError::Stale(_)
            | WriteError::Forbidden(_)
            | WriteError::Refused(_)
            | WriteError::Failed(_)
            | WriteError::Unreachable(_)
            | WriteError::Deadline => Duration::ZERO,
        };
        let moment = moment();
        let row = self.note(target, |history| {
            history.record_failure(&repair.uid, kind(error), at_least, moment).clone()
        });
        if let Some(row) = row {
            self.report.failed(target, repair, error, &row, row.due - moment.at);
            self.work.mark_at(target.clone(), row.due);
        }
    }
}

/// Now, and a random number.
fn moment() -> Moment {
    Moment { at: clock::now().monotonic, jitter: fastrand::f64() }
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
