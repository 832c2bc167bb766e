//! The transition of a managed target: from what is known, and what became of a write, to what to do next and what
//! happened.
//!
//! Everything a reconciler decides or remembers about a target happens in [`step`]. It does no I/O, so the caller may
//! hold a lock on the record, and every behaviour can be tested as a table.

use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::clock::Now;
use crate::conflict::Quiet;
use crate::decide::{Decision, Repair, decide};
use crate::drift::Drift;
use crate::event::{Event, EventKind, Resolution, WriteFailure};
use crate::failures::Failure;
use crate::observed::Observation;
use crate::policy::Policy;
use crate::record::{Record, Sighting};
use crate::setting::Setting;
use crate::state::State;
use crate::target::Target;

/// A wait for a time of the wall clock is cut into pieces of this length, because that clock may be set.
const LONGEST_WAIT: Duration = Duration::from_mins(1);

/// Why a step is made.
#[derive(Debug)]
pub enum Cause<'a> {
    /// The target is due.
    Due {
        /// What is stored for it.
        setting: &'a Setting,
        /// What is known of the workload.
        observation: Observation<'a>,
        /// Kind and name of the autoscaler that targets the workload.
        autoscaler: Option<&'a Arc<str>>,
    },
    /// A write that an earlier step asked for has ended.
    Ended {
        /// The write.
        repair: &'a Repair,
        /// How it ended.
        outcome: Outcome,
    },
}

/// How a write ended.
#[derive(Clone, Debug, PartialEq)]
pub enum Outcome {
    /// The API server says that the count was written.
    Written {
        /// How long that took.
        took: Duration,
    },
    /// It failed, or nobody knows whether it did.
    Failed {
        /// Why.
        failure: Failure,
        /// The same in words.
        words: String,
        /// How long the API server asked to wait.
        retry_after: Duration,
    },
}

/// What comes of a step.
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
    /// Nothing, until something changes.
    Rest,
    /// Make another step at this time.
    Wait(Instant),
    /// Write, and make another step when the write has ended.
    Write(Repair),
}

/// Makes a step of a target: updates its record, and says what to do next and what happened.
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
        Cause::Ended { repair, .. } => repair.generation,
    };
    let mut transition = Transition { record, target, generation, now, jitter, events: Vec::new() };
    let next = match cause {
        Cause::Due { setting, observation, autoscaler } => {
            transition.due(setting, observation, autoscaler, policy)
        }
        Cause::Ended { repair, outcome } => transition.ended(repair, outcome),
    };
    Step { next, events: transition.events }
}

/// A step that is being made.
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
        setting: &Setting,
        observation: Observation<'_>,
        autoscaler: Option<&Arc<str>>,
        policy: &Policy,
    ) -> Next {
        if self.record.record_autoscaler(autoscaler) {
            self.tell(EventKind::Autoscaled { autoscaler: autoscaler.cloned() });
        }
        if observation.is_alive() {
            self.record.is_missing = false;
        }
        match decide(self.target, setting, observation, self.record, policy, self.now) {
            Decision::Rest(state) => self.rest(state),
            Decision::InEffect => self.in_effect(setting),
            Decision::Ignore { drift, until } => {
                self.drifted(drift.as_ref());
                until.map_or(Next::Rest, |until| Next::Wait(self.on_the_way_to(until)))
            }
            Decision::Wait { until, drift } => {
                self.drifted(drift.as_ref());
                Next::Wait(until)
            }
            Decision::Repair(repair) => {
                self.drifted(repair.drift.as_ref());
                Next::Write(repair)
            }
        }
    }

    fn rest(&mut self, state: State) -> Next {
        match state {
            State::Missing => {
                if self.record.record_missing() {
                    self.tell(EventKind::Missing);
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
            | State::OutOfScope => Next::Rest,
        }
    }

    fn in_effect(&mut self, setting: &Setting) -> Next {
        let ended = self
            .noting_conflicts(|record, now, jitter| record.record_in_effect(setting.replicas, now, jitter));
        self.resolved(ended, Resolution::InSync);
        self.quiet()
    }

    fn ended(&mut self, repair: &Repair, outcome: Outcome) -> Next {
        match outcome {
            Outcome::Written { took } => {
                self.written(repair, took);
                Next::Rest
            }
            Outcome::Failed { failure, words, retry_after } => {
                self.failed(repair, failure, words, retry_after)
            }
        }
    }

    fn written(&mut self, repair: &Repair, took: Duration) {
        let (from, to) = (repair.from, repair.to);
        if let Some(drift) = &repair.drift {
            self.tell(EventKind::Repaired { drift: drift.clone(), from, to, took });
            self.noting_conflicts(|record, now, jitter| record.record_repaired(to, now, jitter));
        } else {
            self.tell(EventKind::Applied { from, to, took });
            let ended = self.record.record_applied(to);
            self.resolved(ended, Resolution::NewSetting);
        }
    }

    fn failed(&mut self, repair: &Repair, failure: Failure, words: String, retry_after: Duration) -> Next {
        let row = self.noting_conflicts(|record, now, jitter| {
            record.record_failure(&repair.uid, failure, retry_after, now, jitter).clone()
        });
        self.tell(EventKind::WriteFailed(WriteFailure {
            drift: repair.drift.clone(),
            to: repair.to,
            failure,
            words,
            in_a_row: row.in_a_row,
            is_news: row.are_news(),
            delay: row.due - self.now.monotonic,
        }));
        Next::Wait(row.due)
    }

    fn drifted(&mut self, drift: Option<&Drift>) {
        let Some(drift) = drift else { return };
        let is_contested = self.record.damping.contested().is_some();
        match self.record.record_drift(drift, self.now.monotonic) {
            Sighting::Known => {}
            Sighting::New { instead_of } => {
                if let Some(before) = instead_of {
                    let how = Resolution::Replaced;
                    self.tell(EventKind::Resolved { drift: before, how, is_contested });
                }
                self.tell(EventKind::Drifted { drift: drift.clone(), is_contested });
            }
        }
    }

    /// A drift may have ended without an answered repair.
    fn resolved(&mut self, ended: Option<Drift>, how: Resolution) {
        if let Some(drift) = ended {
            self.tell(EventKind::Resolved { drift, how, is_contested: false });
        }
    }

    /// There is no drift: a conflict has ended if that lasted long enough, and otherwise will at a later step.
    fn quiet(&mut self) -> Next {
        match self.record.damping.record_quiet(self.now.monotonic) {
            Quiet::NotContested => Next::Rest,
            Quiet::EndsAt(end) => Next::Wait(end),
            Quiet::Ended => {
                self.tell(EventKind::Calmed);
                Next::Rest
            }
        }
    }

    /// Changes the record, and tells if that makes the target contested.
    fn noting_conflicts<T>(&mut self, change: impl FnOnce(&mut Record, Instant, f64) -> T) -> T {
        let was_contested = self.record.damping.contested().is_some();
        let changed = change(self.record, self.now.monotonic, self.jitter);
        if let Some(contested) = self.record.damping.contested().filter(|_| !was_contested) {
            let wait = contested.next_repair.saturating_duration_since(self.now.monotonic);
            self.tell(EventKind::Contested { drift: self.record.last.clone(), wait });
        }
        changed
    }

    /// When to look again at a target for which a time of the wall clock matters.
    fn on_the_way_to(&self, until: Timestamp) -> Instant {
        let left = Duration::try_from(until.duration_since(self.now.wall)).unwrap_or_default();
        self.now.monotonic + left.min(LONGEST_WAIT)
    }

    fn tell(&mut self, kind: EventKind) {
        let (target, generation) = (self.target.clone(), Some(self.generation));
        self.events.push(Event { target, at: self.now.wall, generation, kind });
    }
}

#[cfg(test)]
mod tests;
