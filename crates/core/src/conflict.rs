//! Conflicts over the count of a target: what others did to it, and what follows from that.
//!
//! Conflicts that are faster than the budget of immediate repairs are damped ([`crate::damping`]). Those that come again
//! and again are reported, at any rate ([`crate::steady`]).

use std::sync::Arc;
use std::time::Instant;

use crate::damping::{BUDGET, BUDGET_OF_AUTOSCALED, Contested, Damping, Quiet};
use crate::managed_fields::Writer;
use crate::replicas::Replicas;
use crate::steady::{MEMORY, Rounds, SteadyConflict};
use crate::uid::Uid;

/// Who else changes the count of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictState {
    /// Nobody.
    None,
    /// Somebody keeps changing it.
    Contested,
    /// An autoscaler targets it.
    Autoscaled,
}

/// An undesired count of an object, on which a write was decided.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct View {
    /// The object.
    pub uid: Uid,
    /// Its count.
    pub replicas: Replicas,
}

/// What a write tests beside the object. If that has changed since the decision, the write comes too late.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Basis {
    /// The count.
    Count,
    /// The version, which any other change of the workload makes stale, such as one of its status.
    Version,
}

/// What is remembered of the conflicts over one target. Most targets have none, so it takes no room until the first.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Conflict(Option<Box<Memory>>);

#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Memory {
    damping: Damping,
    rounds: Rounds,
    /// The view of the present drift, if a conflict was recorded for it.
    counted: Option<View>,
    /// Whether a write for the present drift may have landed although it was not answered.
    is_unanswered: bool,
    /// Who caused a drift last, as far as known, and when it was seen.
    culprit: Option<(Arc<Writer>, Instant)>,
}

impl Conflict {
    /// How repairs are delayed, if the target is contested.
    pub fn contested(&self) -> Option<&Contested> {
        self.0.as_ref()?.damping.contested()
    }

    /// Whether there is a steady conflict.
    pub fn is_steady(&self) -> bool {
        self.0.as_ref().is_some_and(|memory| memory.rounds.is_steady())
    }

    /// The steady conflict, if there is one.
    pub fn steady(&self, autoscaler: Option<&Arc<str>>, now: Instant) -> Option<SteadyConflict> {
        self.0.as_ref()?.rounds.steady(|| self.suspect(autoscaler, now))
    }

    /// Who probably causes drifts whose owner Kubernetes did not record: the autoscaler of the workload, or else the
    /// last known culprit, as long as that is remembered.
    pub fn suspect(&self, autoscaler: Option<&Arc<str>>, now: Instant) -> Option<Arc<str>> {
        if let Some(autoscaler) = autoscaler {
            return Some(Arc::clone(autoscaler));
        }
        let (writer, seen) = self.0.as_ref()?.culprit.as_ref()?;
        (now <= *seen + MEMORY).then(|| Arc::from(&*writer.manager))
    }

    /// The earliest time of the next write on `view`, if it has to wait.
    pub fn next_write(&self, view: &View) -> Option<Instant> {
        let Memory { damping, counted, .. } = &**self.0.as_ref()?;
        let is_repeated = counted.as_ref() == Some(view);
        let next_retry = damping.next_retry().filter(|_| is_repeated);
        next_retry.max(damping.contested().map(|contested| contested.next_repair))
    }

    /// Whether a write may test the version: not if too many came too late for that lately.
    pub fn may_test_version(&self, now: Instant) -> bool {
        self.0.as_ref().is_none_or(|memory| memory.damping.may_test_version(now))
    }

    /// Records that there is drift.
    pub fn record_drift(&mut self, now: Instant) {
        if let Some(memory) = &mut self.0 {
            memory.damping.record_drift(now);
        }
    }

    /// Records who caused a drift.
    pub fn record_culprit(&mut self, writer: &Arc<Writer>, now: Instant) {
        self.memory().culprit = Some((Arc::clone(writer), now));
    }

    /// Records a write on `view` that landed or came too late. The first on a view is a conflict, and others repeat it.
    pub fn record_write(&mut self, view: View, is_autoscaled: bool, now: Instant, jitter: f64) {
        let Memory { damping, counted, .. } = self.memory();
        if counted.as_ref() == Some(&view) {
            damping.record_retry(now);
        } else {
            let budget = if is_autoscaled { BUDGET_OF_AUTOSCALED } else { BUDGET };
            damping.record_conflict(budget, now, jitter);
            *counted = Some(view);
        }
    }

    /// Records a write that came too late for the version that it tested, which says nothing about the count.
    pub fn record_outdated(&mut self, now: Instant) {
        self.memory().damping.record_outdated(now);
    }

    /// Records that a write may have landed although it was not answered.
    pub fn record_unanswered(&mut self) {
        self.memory().is_unanswered = true;
    }

    /// Returns whether a write for the present drift may have landed without an answer, and forgets it.
    pub fn take_unanswered(&mut self) -> bool {
        self.0.as_mut().is_some_and(|memory| std::mem::take(&mut memory.is_unanswered))
    }

    /// Records a round: a write of ours ended a drift, which `by` caused.
    pub fn record_round(&mut self, by: Option<&Arc<Writer>>, now: Instant) {
        self.memory().rounds.record(by, now);
    }

    /// Records that the present drift has ended, or that another takes its place.
    pub fn end_drift(&mut self) {
        if let Some(memory) = &mut self.0 {
            (memory.counted, memory.is_unanswered) = (None, false);
        }
    }

    /// Records a change of the setting. Another count ends a conflict; the same count again only skips the current
    /// delay. Steady conflicts continue: whatever the count is, the opponent is the same.
    pub fn record_setting(&mut self, is_same_count: bool) {
        let Some(memory) = &mut self.0 else { return };
        if is_same_count {
            memory.damping.skip_delay();
        } else {
            memory.damping = Damping::default();
        }
        self.end_drift();
    }

    /// Records that no autoscaler targets the workload any more.
    pub fn end_autoscaling(&mut self, now: Instant) {
        if let Some(memory) = &mut self.0 {
            memory.damping.end_autoscaling(now);
        }
    }

    /// Records that there is no drift. What then happens to a contested target, and to a steady conflict.
    pub fn record_quiet(&mut self, now: Instant) -> (Quiet, Quiet) {
        let Some(memory) = &mut self.0 else { return (Quiet::None, Quiet::None) };
        let ends = (memory.damping.record_quiet(now), memory.rounds.record_quiet(now));
        if memory.is_forgotten(now) {
            self.0 = None;
        }
        ends
    }

    /// Records that there is no round, while drift may be ignored. What then happens to a steady conflict.
    pub fn record_no_round(&mut self, now: Instant) -> Quiet {
        self.0.as_mut().map_or(Quiet::None, |memory| memory.rounds.record_quiet(now))
    }

    fn memory(&mut self) -> &mut Memory {
        self.0.get_or_insert_default()
    }
}

impl Memory {
    fn is_forgotten(&self, now: Instant) -> bool {
        let Self { damping, rounds, counted, is_unanswered, culprit } = self;
        let is_drifted = counted.is_some() || *is_unanswered;
        let knows_culprit = culprit.as_ref().is_some_and(|(_, seen)| now <= *seen + MEMORY);
        !is_drifted && !knows_culprit && damping.is_rested(now) && rounds.is_forgotten(now)
    }
}
