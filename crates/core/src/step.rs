//! The transition of a managed target: from the known state, or the outcome of a write, to the next action and the
//! events.
//!
//! Everything a reconciler decides or remembers about a target happens in [`step`]. It does no I/O, so the caller may
//! hold a lock on the record, and every behaviour can be tested as a table.

mod outcome;

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

pub use self::outcome::Outcome;
use crate::clock::Now;
use crate::conflict::View;
use crate::damping::Quiet;
use crate::decide::{Decision, Repair, decide};
use crate::drift::Drift;
use crate::event::{Event, EventKind, Resolution, WriteFailure};
use crate::failures::{Failure, WriteError};
use crate::guard::GuardState;
use crate::observed::Observation;
use crate::pods::LateCost;
use crate::policy::Policy;
use crate::record::{Record, Sighting};
use crate::setting::Setting;
use crate::state::State;
use crate::target::Target;

/// A wait for a wall-clock time is split into pieces of at most this length, because that clock may be set.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// What causes a step.
#[derive(Debug)]
pub enum Cause<'a> {
    /// The target is due.
    Due {
        /// What is stored for it, which also says until when that is in force.
        setting: &'a Arc<Setting>,
        /// What is known of the workload.
        observation: Observation<'a>,
        /// Kind and name of the autoscaler that targets the workload.
        autoscaler: Option<&'a Arc<str>>,
        /// Whether the API server keeps the count.
        guard_state: GuardState,
    },
    /// A write requested by an earlier step has ended.
    WriteEnded {
        /// The write.
        repair: &'a Repair,
        /// How it ended.
        outcome: Outcome,
    },
}

/// The result of a step.
#[derive(Clone, Debug, PartialEq)]
pub struct Step {
    /// What to do.
    pub next: Next,
    /// What happened, in order.
    pub events: Vec<Event>,
}

/// What to do next about a target.
#[derive(Clone, Debug, PartialEq)]
pub enum Next {
    /// Do nothing until something changes.
    AwaitChange,
    /// Make another step at this time.
    RequeueAt(Instant),
    /// Write, and make another step when the write has ended.
    Write(Repair),
}

impl Next {
    fn at_first_of(times: [Option<Instant>; 2]) -> Self {
        times.into_iter().flatten().min().map_or(Self::AwaitChange, Self::RequeueAt)
    }

    /// The same, but not later than `due`. The outcome of a write makes a step in any case.
    fn not_after(self, due: Option<Instant>) -> Self {
        match self {
            Self::AwaitChange => Self::at_first_of([due, None]),
            Self::RequeueAt(at) => Self::at_first_of([due, Some(at)]),
            Self::Write(_) => self,
        }
    }
}

/// Makes a step of a target: updates its record, and returns the next action and the events.
///
/// `jitter` is a random number in 0..1 for the delays that may follow.
pub fn step(
    record: &mut Record,
    target: &Target,
    cause: Cause<'_>,
    policy: &Policy,
    now: Now,
    jitter: f64,
) -> Step {
    let generation = match &cause {
        Cause::Due { setting, .. } => setting.generation,
        Cause::WriteEnded { repair, .. } => repair.generation,
    };
    let mut transition = Transition { record, target, generation, now, jitter, events: Vec::new() };
    let next = match cause {
        Cause::Due { setting, observation, autoscaler, guard_state } => {
            transition.due(setting, observation, autoscaler, policy, guard_state)
        }
        Cause::WriteEnded { repair, outcome } => transition.write_ended(repair, outcome),
    };
    let hold_ends = transition.record.held_until.map(|until| transition.recheck_time(until));
    let events = transition.events;
    Step { next: next.not_after(record.pods.due()).not_after(hold_ends), events }
}

/// A step in progress.
struct Transition<'a> {
    record: &'a mut Record,
    target: &'a Target,
    generation: u64,
    now: Now,
    jitter: f64,
    events: Vec<Event>,
}

impl Transition<'_> {
    fn due(
        &mut self,
        stored: &Arc<Setting>,
        observation: Observation<'_>,
        autoscaler: Option<&Arc<str>>,
        policy: &Policy,
        guard_state: GuardState,
    ) -> Next {
        let Some(setting) = &self.in_force(stored) else {
            let ended = self.record.open_drift.take();
            self.resolved(ended, Resolution::Unmanaged);
            // Nothing of it matters any more, as if the setting had been deleted.
            *self.record = Record::default();
            return Next::AwaitChange;
        };
        if self.record.record_autoscaler(autoscaler, self.now.monotonic) {
            self.emit(EventKind::Autoscaled { autoscaler: autoscaler.cloned() });
        }
        if observation.is_alive() {
            self.record.is_missing = false;
        }
        if let Observation::Present(observed) = observation {
            self.record.own_writes.record_observed(observed);
        }
        let decision = decide(self.target, setting, observation, self.record, policy, guard_state, self.now);
        self.drifted(decision.drift(), observation);
        self.count_pods(setting, observation);
        match decision {
            Decision::AwaitChange(state) => self.await_change(state),
            Decision::InEffect => self.in_effect(setting),
            Decision::Ignore { until, .. } => {
                let resumes = until.map(|until| self.recheck_time(until));
                let quiet = self.record.conflict.record_no_round(self.now.monotonic);
                Next::at_first_of([resumes, self.steady_quiet(quiet)])
            }
            Decision::AwaitGuard { .. } => Next::AwaitChange,
            Decision::Wait { until, .. } => Next::RequeueAt(until),
            Decision::Repair(repair) => Next::Write(repair),
        }
    }

    /// What is in force now. Reports the end of a temporary count.
    fn in_force(&mut self, stored: &Arc<Setting>) -> Option<Arc<Setting>> {
        let in_force = stored.at(self.now.wall);
        let held_until = in_force.as_ref().and_then(|setting| setting.hold).map(|hold| hold.until);
        let before = std::mem::replace(&mut self.record.held_until, held_until);
        if stored.hold.is_some() && before.is_some() && held_until.is_none() {
            let to = in_force.as_ref().map(|setting| setting.replicas);
            self.emit(EventKind::HoldEnded { from: stored.replicas, to });
            if let Some(desired) = to {
                self.record.record_setting(desired);
            }
        }
        in_force
    }

    fn await_change(&mut self, state: State) -> Next {
        match state {
            State::Missing => {
                if self.record.record_missing() {
                    self.emit(EventKind::Missing);
                }
                self.quiet()
            }
            State::Unknown
            | State::Unmanaged
            | State::InSync
            | State::Drifted
            | State::Contested
            | State::Autoscaled
            | State::Ignored
            | State::OutOfScope
            | State::Unsupported => Next::AwaitChange,
        }
    }

    fn in_effect(&mut self, setting: &Setting) -> Next {
        let ended =
            self.update_record(|record, now, jitter| record.record_in_effect(setting.replicas, now, jitter));
        self.resolved(ended, Resolution::InSync);
        self.quiet()
    }

    fn write_ended(&mut self, repair: &Repair, outcome: Outcome) -> Next {
        // Not when the write is decided on: it may not be sent. No step comes between.
        self.record.own_writes.record_sent(repair.to);
        match outcome {
            Outcome::Written { took } => {
                self.record.own_writes.record_confirmed();
                self.record.record_write_time(took);
                self.write_succeeded(repair, took);
                Next::AwaitChange
            }
            Outcome::Altered { to, took } => {
                self.record.record_write_time(took);
                let message = format!("admission changed {} to {to}", repair.to);
                let next = self.write_failed(repair, WriteError::new(Failure::Altered, Some(200), message));
                self.record.record_altered(to);
                next
            }
            Outcome::Failed(error) => self.write_failed(repair, error),
        }
    }

    fn write_succeeded(&mut self, repair: &Repair, took: Duration) {
        let (from, to) = (repair.from, repair.to);
        if let Some(drift) = &repair.drift {
            let pods_lost = self.record.pods.end_drift(self.now.monotonic);
            let now = self.now.monotonic;
            let lasted = self.record.drift_seen.map_or(took, |seen| now.saturating_duration_since(seen));
            self.emit(EventKind::Repaired { drift: drift.clone(), from, to, took, lasted, pods_lost });
            self.update_record(|record, now, jitter| record.record_repaired(to, now, jitter));
        } else {
            self.emit(EventKind::Applied { from, to, took });
            let ended = self.record.record_applied(to);
            self.resolved(ended, Resolution::NewSetting);
        }
    }

    fn write_failed(&mut self, repair: &Repair, error: WriteError) -> Next {
        let WriteError { failure, code, message, retry_after } = error;
        let view = View { uid: repair.uid.clone(), replicas: repair.from };
        let (basis, wall) = (repair.method.basis(), self.now.wall);
        let failures = self.update_record(|record, now, jitter| {
            let failures = record.record_failure(view, basis, failure, retry_after, now, jitter);
            failures.describe(code, message.clone(), wall);
            failures.clone()
        });
        self.emit(EventKind::WriteFailed(WriteFailure {
            drift: repair.drift.clone(),
            to: repair.to,
            failure,
            code,
            message,
            in_a_row: failures.in_a_row,
            should_warn: failures.should_warn(),
            delay: failures.due - self.now.monotonic,
        }));
        Next::RequeueAt(failures.due)
    }

    fn drifted(&mut self, drift: Option<&Drift>, observation: Observation<'_>) {
        let (Some(drift), Observation::Present(observed)) = (drift, observation) else { return };
        let is_contested = self.record.conflict.contested().is_some();
        let sighting = self.update_record(|record, now, jitter| record.record_drift(drift, now, jitter));
        match sighting {
            Sighting::Known => {}
            Sighting::New { replaced } => {
                if let Some(drift) = replaced {
                    let (how, pods_lost) =
                        (Resolution::Replaced, self.record.pods.end_drift(self.now.monotonic));
                    self.emit(EventKind::Resolved { drift, how, is_contested, pods_lost });
                }
                let late = self.record.pods.begin(drift, observed);
                self.late_cost(late);
                self.emit(EventKind::Drifted { drift: drift.clone(), is_contested });
                if drift.is_by_another_server() {
                    self.emit(EventKind::AnotherServer { drift: drift.clone() });
                }
            }
        }
    }

    /// Emits an event if a drift has ended without an acknowledged repair.
    fn resolved(&mut self, ended: Option<Drift>, how: Resolution) {
        if let Some(drift) = ended {
            let pods_lost = self.record.pods.end_drift(self.now.monotonic);
            self.emit(EventKind::Resolved { drift, how, is_contested: false, pods_lost });
        }
    }

    /// Counts what the last drift has cost in pods.
    fn count_pods(&mut self, setting: &Setting, observation: Observation<'_>) {
        let late = match observation {
            Observation::Unread => None,
            Observation::Absent => self.record.pods.end(),
            Observation::Present(observed) => {
                let (more, late) = self.record.pods.observe(observed, setting.replicas, self.now.monotonic);
                if more > 0 {
                    self.emit(EventKind::PodsLost { more });
                }
                late
            }
        };
        self.late_cost(late);
    }

    fn late_cost(&mut self, late: Option<LateCost>) {
        if let Some(late) = late {
            self.emit(EventKind::LateCost(late));
        }
    }

    /// There is no drift. Conflicts end if that has lasted long enough, and otherwise at a later step.
    fn quiet(&mut self) -> Next {
        let (contested, steady) = self.record.conflict.record_quiet(self.now.monotonic);
        let contested_ends = match contested {
            Quiet::None => None,
            Quiet::EndsAt(end) => Some(end),
            Quiet::Ended => {
                self.emit(EventKind::Calmed);
                None
            }
        };
        Next::at_first_of([contested_ends, self.steady_quiet(steady)])
    }

    /// When a steady conflict ends, if it does not yet.
    fn steady_quiet(&mut self, quiet: Quiet) -> Option<Instant> {
        match quiet {
            Quiet::None => None,
            Quiet::EndsAt(end) => Some(end),
            Quiet::Ended => {
                self.emit(EventKind::SteadyConflictEnded);
                None
            }
        }
    }

    /// Changes the record, and emits events if that makes the target contested, or begins or ends a steady conflict.
    fn update_record<T>(&mut self, change: impl FnOnce(&mut Record, Instant, f64) -> T) -> T {
        let now = self.now.monotonic;
        let (was_contested, was_steady) = self.conflicts();
        let changed = change(self.record, now, self.jitter);
        let (is_contested, is_steady) = self.conflicts();
        if is_steady
            && !was_steady
            && let Some(conflict) = self.record.steady_conflict(now)
        {
            self.emit(EventKind::SteadyConflict(conflict));
        }
        if let Some(contested) = self.record.conflict.contested().filter(|_| is_contested && !was_contested) {
            let wait = contested.next_repair.saturating_duration_since(now);
            self.emit(EventKind::Contested { drift: self.record.last_drift.clone(), wait });
        }
        changed
    }

    /// Whether the target is contested, and whether the conflict is steady.
    fn conflicts(&self) -> (bool, bool) {
        (self.record.conflict.contested().is_some(), self.record.conflict.is_steady())
    }

    /// When to check a target again that waits for a wall-clock time.
    fn recheck_time(&self, until: Timestamp) -> Instant {
        let left = Duration::try_from(until.duration_since(self.now.wall)).unwrap_or_default();
        self.now.monotonic + left.min(LONGEST_WAIT)
    }

    fn emit(&mut self, kind: EventKind) {
        let (target, generation) = (self.target.clone(), Some(self.generation));
        self.events.push(Event { target, at: self.now.wall, generation, kind });
    }
}

#[cfg(test)]
mod tests;
