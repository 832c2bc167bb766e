//! The only path to a repair: take a due target, make a step, write if the step requires it, and make a step with the
//! outcome.
//!
//! Steps run one after the other. Only writes are concurrent, at most [`MAX_WRITES`] at once.

#[cfg(test)]
mod tests;

use std::future::ready;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::StreamExt;
use futures_util::stream::{self, FuturesUnordered};
use jiff::Timestamp;
use replica_count_core::decide::{Method, Repair};
use replica_count_core::failures::{Failure, WRITE_DEADLINES, WriteError};
use replica_count_core::guard::{GuardState, Mode};
use replica_count_core::policy::Policy;
use replica_count_core::setting::Setting;
use replica_count_core::step::{Cause, Next, Outcome, Step, step};
use replica_count_core::target::Target;
use tokio::time::{Instant, MissedTickBehavior};
use tokio_util::sync::CancellationToken;

use super::marker::Marker;
use super::records::Records;
use super::report::Report;
use super::statuses::Statuses;
use crate::clock;
use crate::cluster::Cluster;
use crate::guards::Guards;
use crate::kubernetes::scale::{NotWritten, Scales, Written};
use crate::leadership::Leadership;
use crate::traces::Span;

/// Writes in flight at once: enough to use a fast API server, few enough to leave capacity for others.
const MAX_WRITES: usize = 32;
/// The same for writes that get more time, because earlier ones ran out of it. They do not block the others.
const MAX_SLOW_WRITES: usize = 8;
/// How long a target waits when there are too many of them.
const SLOW_RETRY: Duration = Duration::from_secs(1);
/// How often every managed target is rechecked, from memory.
const RESYNC: Duration = Duration::from_mins(5);

/// Repairs drift.
pub struct Reconciler {
    /// The observed state.
    pub cluster: Arc<Cluster>,
    /// The desired state and the queue.
    pub marker: Marker,
    /// The records of managed targets.
    pub records: Arc<Records>,
    /// The server-wide policy.
    pub policy: Arc<Policy>,
    /// What the API server keeps.
    pub guards: Arc<Guards>,
    /// The right to write.
    pub leadership: Leadership,
    /// The term that the records are of.
    pub term: AtomicU64,
    /// What writes to the API server.
    pub scales: Scales,
    /// Where events are reported.
    pub report: Report,
    /// The status of ReplicaCounts, if there are any.
    pub statuses: Option<Arc<Statuses>>,
}

impl Reconciler {
    /// Runs until `shutdown`, then waits for the writes in flight, but not longer than for a single fast one.
    pub async fn run(self, shutdown: CancellationToken) {
        let work = Arc::clone(&self.marker.work);
        let mut terms = self.leadership.terms();
        let (mut writes, mut slow_writes) = (FuturesUnordered::new(), FuturesUnordered::new());
        let mut resync = tokio::time::interval(RESYNC);
        resync.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                () = shutdown.cancelled() => break,
                term = terms.changed() => self.turn(term),
                _ = resync.tick() => self.marker.mark_all(),
                Some(target) = writes.next() => work.done(&target),
                Some(target) = slow_writes.next() => work.done(&target),
                target = work.next(), if writes.len() < MAX_WRITES => match self.reconcile(&target) {
                    Some(repair) if repair.deadline == WRITE_DEADLINES[0] => {
                        writes.push(self.write(target, repair));
                    }
                    Some(repair) if slow_writes.len() < MAX_SLOW_WRITES => {
                        slow_writes.push(self.write(target, repair));
                    }
                    Some(_) => {
                        work.mark_at(target.clone(), (Instant::now() + SLOW_RETRY).into_std());
                        work.done(&target);
                    }
                    None => work.done(&target),
                },
            }
        }
        // What is dropped then has an unknown outcome. The next server observes it, and writes if it did not land.
        let ended = stream::select(writes, slow_writes).for_each(|_| ready(()));
        let _ = tokio::time::timeout(WRITE_DEADLINES[0], ended).await;
    }

    /// A term begins, or none. What happened before is not known to whoever writes next, so the records begin anew.
    fn turn(&self, term: Option<u64>) {
        self.records.begin_anew(&self.marker.store);
        if let Some(term) = term {
            self.term.store(term, Ordering::Relaxed);
            self.marker.mark_all();
        }
    }

    /// Whether the records are those of the current term.
    fn is_current(&self) -> bool {
        self.leadership.term() == Some(self.term.load(Ordering::Relaxed))
    }

    /// Makes a step of a due target; returns the write that it needs.
    fn reconcile(&self, target: &Target) -> Option<Repair> {
        // Once a term begins, all targets are marked.
        if !self.is_current() {
            return None;
        }
        // What is not known to be current is not enforced; once it is, all targets are marked.
        let setting = self.marker.store.get(target).filter(|_| self.marker.store.is_current())?;
        let now = clock::now();
        let step = {
            let view = self.cluster.view();
            let (observation, autoscaler) = (view.observation(target), view.autoscaler(target));
            let guard_state = self.guard_state(target, &setting, autoscaler.is_some(), now.wall);
            let cause = Cause::Due { setting: &setting, observation, autoscaler, guard_state };
            self.records
                .update(target, |record| step(record, target, cause, &self.policy, now, fastrand::f64()))?
        };
        self.carry_out(target, step)
    }

    /// Whether the API server keeps the count that is in force.
    fn guard_state(
        &self,
        target: &Target,
        setting: &Arc<Setting>,
        is_autoscaled: bool,
        now: Timestamp,
    ) -> GuardState {
        let Some(in_force) = setting.at(now) else { return GuardState::Unguarded };
        self.guards.state_of(target, &in_force, is_autoscaled)
    }

    /// Writes, and makes a step with the outcome; returns the target, whose work is then done.
    async fn write(&self, target: Target, mut repair: Repair) -> Target {
        let (started, term) = (Instant::now(), self.term.load(Ordering::Relaxed));
        let span = self.report.traces.begin_write(&target, &repair);
        let mut answer = self.send(&target, &mut repair).await;
        if let Ok(Written { replicas, .. }) = answer
            && repair.method == Method::Guarded
            && replicas != repair.to
        {
            answer = if self.is_still_guarded(&target, &repair) {
                self.guards.disprove(target.namespace());
                (repair.from, repair.method) = (replicas, Method::Patch);
                self.send(&target, &mut repair).await
            } else {
                let message = "the setting or its guard has changed meanwhile".to_owned();
                Err(WriteError::new(Failure::Stale, None, message).into())
            };
        }
        let outcome = match answer {
            Ok(Written { version, replicas }) => {
                if let Some(version) = version {
                    self.cluster.record_write(&target, &repair.uid, version, replicas);
                }
                Outcome::of_write(&repair, replicas, started.elapsed())
            }
            Err(NotWritten::Failed(error)) => Outcome::Failed(error),
            // Whoever may write now sees the drift, too.
            Err(NotWritten::NotSent) => return target,
        };
        if let Some(span) = span {
            end_span(span, &outcome);
        }
        let now = clock::now();
        let is_written = matches!(outcome, Outcome::Written { .. });
        let cause = Cause::WriteEnded { repair: &repair, outcome };
        let next_step = self.records.update_or_default(&target, |record, is_managed| {
            // Without a setting, a failure does not matter to anybody, nor does one of an earlier term.
            let matters = is_managed && self.term.load(Ordering::Relaxed) == term;
            (matters || is_written).then(|| step(record, &target, cause, &self.policy, now, fastrand::f64()))
        });
        if let Some(step) = next_step {
            self.carry_out(&target, step);
        }
        target
    }

    /// Sends a write. An update that could not be made becomes a patch, if the setting is still the same.
    async fn send(&self, target: &Target, repair: &mut Repair) -> Result<Written, NotWritten> {
        repair.method = self.scales.available(repair.method);
        let answer = self.scales.write(target, repair).await;
        if let (Method::Update { .. }, Err(error)) = (repair.method, &answer)
            && error.leaves_a_patch()
            && self.setting_of(target, repair).is_some()
        {
            repair.method = Method::Patch;
            return self.scales.write(target, repair).await;
        }
        answer
    }

    /// The setting of a repair, if it is still the same and in force.
    fn setting_of(&self, target: &Target, repair: &Repair) -> Option<Arc<Setting>> {
        let setting = self.marker.store.in_force(target, clock::now().wall);
        setting.filter(|setting| (setting.generation, setting.replicas) == (repair.generation, repair.to))
    }

    /// Whether the guard should still have the count of a repair.
    fn is_still_guarded(&self, target: &Target, repair: &Repair) -> bool {
        self.setting_of(target, repair).is_some_and(|setting| {
            let is_autoscaled = self.cluster.view().autoscaler(target).is_some();
            self.guards.state_of(target, &setting, is_autoscaled) == GuardState::InForce(Mode::Correct)
        })
    }

    /// Carries out a step, except the write, which is returned.
    fn carry_out(&self, target: &Target, Step { next, events }: Step) -> Option<Repair> {
        for event in events {
            self.report.emit(event);
        }
        if let Some(statuses) = &self.statuses {
            statuses.mark(target);
        }
        match next {
            Next::AwaitChange => None,
            Next::RequeueAt(until) => {
                self.marker.work.mark_at(target.clone(), until);
                None
            }
            Next::Write(repair) => Some(repair),
        }
    }
}

/// Ends the span of a write.
fn end_span(mut span: Span, outcome: &Outcome) {
    let error = match outcome {
        Outcome::Written { .. } => None,
        Outcome::Altered { to, .. } => Some(format!("admission has stored {to}")),
        Outcome::Failed(error) => {
            if let Some(code) = error.code {
                span.set_number("http.response.status_code", code.into());
            }
            span.set_text("error.type", error.failure.as_str());
            Some(error.message.clone())
        }
    };
    span.end(error);
}
