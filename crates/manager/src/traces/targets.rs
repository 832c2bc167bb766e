//! The spans of targets: what a drift or a request leads to.
//!
//! A drift is a span from when it is first seen to its end, and the writes for it are its children. The write for a new
//! setting is a child of the request that stored it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::SystemTime;

use jiff::Timestamp;
use replica_count_core::decide::Repair;
use replica_count_core::drift::Drift;
use replica_count_core::event::{Event, EventKind};
use replica_count_core::kind::Kind as TargetKind;
use replica_count_core::target::Target;

use super::context::TraceContext;
use super::span::{Kind, Span, Tracer};

/// The spans of targets. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct Traces {
    tracer: Tracer,
    known: Arc<Mutex<BTreeMap<Target, Known>>>,
}

/// What is going on with a target.
#[derive(Debug, Default)]
struct Known {
    /// The open drift.
    drift: Option<Span>,
    /// The last request that has stored a setting.
    request: Option<Request>,
}

/// A request that stores a setting.
#[derive(Clone, Copy, Debug)]
struct Request {
    context: TraceContext,
    /// The time of the change, which identifies it.
    at: Timestamp,
    /// The generation of the setting. `None`: it is not stored yet.
    generation: Option<u64>,
}

/// A request that is about to store a setting. If it does not, it is forgotten when this is dropped.
#[derive(Debug)]
pub struct Cause {
    traces: Traces,
    target: Target,
    at: Timestamp,
}

impl Traces {
    /// The spans of targets, which go to this tracer.
    pub fn new(tracer: Tracer) -> Self {
        Self { tracer, known: Arc::default() }
    }

    /// The tracer.
    pub fn tracer(&self) -> &Tracer {
        &self.tracer
    }

    /// Records that the request of this task is about to change the setting of a target, at a time that identifies the
    /// change.
    pub fn about_to_change(&self, target: &Target, at: Timestamp) -> Option<Cause> {
        let context = TraceContext::current().filter(|_| self.tracer.is_on())?;
        let request = Some(Request { context, at, generation: None });
        self.known().entry(target.clone()).or_default().request = request;
        Some(Cause { traces: self.clone(), target: target.clone(), at })
    }

    /// Begins and ends the spans of drifts.
    pub fn observe(&self, event: &Event) {
        if !self.tracer.is_on() {
            return;
        }
        match &event.kind {
            EventKind::Set { .. } | EventKind::EnforcementSet { .. } => self.stored(event),
            EventKind::Deleted { .. } => {
                let known = self.known().remove(&event.target);
                end(known.and_then(|known| known.drift), event, "setting_deleted", None);
            }
            EventKind::Drifted { drift, .. } => {
                let span = self.drift(event, drift);
                self.known().entry(event.target.clone()).or_default().drift = span;
            }
            EventKind::Repaired { pods_lost, .. } => {
                end(self.take_drift(&event.target), event, "repaired", Some(*pods_lost));
            }
            EventKind::Resolved { how, pods_lost, .. } => {
                end(self.take_drift(&event.target), event, how.as_str(), Some(*pods_lost));
            }
            EventKind::AnotherServer { .. }
            | EventKind::HoldEnded { .. }
            | EventKind::Applied { .. }
            | EventKind::PodsLost { .. }
            | EventKind::LateCost(_)
            | EventKind::Contested { .. }
            | EventKind::Calmed
            | EventKind::SteadyConflict(_)
            | EventKind::SteadyConflictEnded
            | EventKind::Missing
            | EventKind::Autoscaled { .. }
            | EventKind::WriteFailed(_) => {}
        }
    }

    /// Begins the span of a write. `None`: there are no traces.
    pub fn begin_write(&self, target: &Target, repair: &Repair) -> Option<Span> {
        if !self.tracer.is_on() {
            return None;
        }
        let parent = self.known().get(target).and_then(|known| match &repair.drift {
            Some(_) => known.drift.as_ref().map(Span::context),
            None => known
                .request
                .filter(|request| request.generation == Some(repair.generation))
                .map(|request| request.context),
        });
        let mut span =
            self.tracer.begin(format!("write {}/scale", target.kind().resource()), Kind::Client, parent)?;
        describe(&mut span, target);
        span.set("replica_count.from", repair.from.get());
        span.set("replica_count.to", repair.to.get());
        span.set("replica_count.generation", i64::try_from(repair.generation).unwrap_or(i64::MAX));
        Some(span)
    }

    /// A setting was stored. If not by the request that is known, that one does not matter any more.
    fn stored(&self, event: &Event) {
        let mut known = self.known();
        let Some(known) = known.get_mut(&event.target) else { return };
        known.request = known
            .request
            .filter(|request| request.at == event.at)
            .map(|request| Request { generation: event.generation, ..request });
    }

    fn drift(&self, event: &Event, drift: &Drift) -> Option<Span> {
        let mut span = self.tracer.begin_at("drift", Kind::Internal, None, SystemTime::from(event.at))?;
        describe(&mut span, &event.target);
        span.set("drift.desired", drift.from.get());
        span.set("drift.found", drift.to.get());
        span.set("drift.by", drift.manager());
        if let Some(owner) = &drift.by {
            span.set("drift.operation", owner.writer.operation.as_str());
            span.set("drift.subresource", owner.writer.subresource.as_deref().unwrap_or_default());
        }
        if let Some(likely_by) = &drift.likely_by {
            span.set("drift.likely_by", &**likely_by);
        }
        Some(span)
    }

    fn take_drift(&self, target: &Target) -> Option<Span> {
        self.known().get_mut(target).and_then(|known| known.drift.take())
    }

    fn known(&self) -> MutexGuard<'_, BTreeMap<Target, Known>> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Cause {
    fn drop(&mut self) {
        let mut known = self.traces.known();
        let Some(of_target) = known.get_mut(&self.target) else { return };
        if of_target.request.is_some_and(|request| request.at == self.at && request.generation.is_none()) {
            of_target.request = None;
        }
        if of_target.request.is_none() && of_target.drift.is_none() {
            known.remove(&self.target);
        }
    }
}

/// Ends the span of a drift.
fn end(span: Option<Span>, event: &Event, outcome: &str, pods_lost: Option<u32>) {
    let Some(mut span) = span else { return };
    span.set("drift.outcome", outcome);
    if let Some(pods_lost) = pods_lost {
        span.set("drift.pods_lost", i64::from(pods_lost));
    }
    span.end_at(SystemTime::from(event.at), None);
}

/// Adds the attributes that name the workload.
fn describe(span: &mut Span, target: &Target) {
    let name = match target.kind() {
        TargetKind::Deployment => "k8s.deployment.name",
        TargetKind::StatefulSet => "k8s.statefulset.name",
    };
    span.set("k8s.namespace.name", target.namespace());
    span.set(name, target.name());
}
