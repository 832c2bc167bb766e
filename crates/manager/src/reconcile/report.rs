//! Reports events to their consumers, which are the metrics, the log and the history.
//!
//! Metrics are counted and spans are ended at once. Everything else happens in one task, in the order of the events, so that a slow
//! consumer delays neither a repair nor the answer to a request.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use jiff::Timestamp;
use replica_count_core::drift::Drift;
use replica_count_core::event::{Event, EventKind, WriteFailure};
use replica_count_core::pods::LateCost;
use replica_count_core::replicas::Replicas;
use replica_count_core::setting::Enforcement;
use replica_count_core::steady::SteadyConflict;
use tokio::sync::mpsc;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::metrics::ReconcileMetrics;
use super::statuses::Statuses;
use crate::history::shared::{Recorder, Told};
use crate::leadership::Leadership;
use crate::traces::Traces;

/// How many events may wait for the reporter: those of a mass drift of 10,000 targets, several times over.
const MAX_WAITING: usize = 65_536;

/// An unknown field manager in the log.
const UNKNOWN: &str = "unknown";

/// Where events are reported. Clones share it.
#[derive(Clone, Debug)]
pub struct Report {
    /// The metrics.
    pub metrics: ReconcileMetrics,
    /// The traces.
    pub traces: Traces,
    items: mpsc::Sender<Item>,
    /// Whether something that an object tells has found no room.
    has_lost_told: Arc<AtomicBool>,
}

/// What the reporter gets. All of it has one order.
#[derive(Debug)]
enum Item {
    /// An event.
    Event(Box<Event>),
    /// What an object of the API server tells.
    Told(Told),
    /// The API server has shown everything that could be read in this version.
    Shown(u64),
    /// The API server has listed everything that can be read in this version, and not what was there before.
    Listed(u64),
}

impl Report {
    /// Reports an event. Never waits: if too many events wait already, this one is only counted.
    pub fn emit(&self, event: Event) {
        self.metrics.count(&event);
        self.traces.observe(&event);
        self.send(Item::Event(event.into()));
    }

    /// Reports what an object of the API server tells.
    pub fn told(&self, mut told: Told) {
        told.is_latest &= !self.has_lost_told.load(Ordering::Relaxed);
        if !self.send(Item::Told(told)) {
            self.has_lost_told.store(true, Ordering::Relaxed);
        }
    }

    /// Reports that the API server has shown everything that could be read in this version.
    pub fn shown(&self, version: u64) {
        if self.has_lost_told.load(Ordering::Relaxed) {
            // As after a listing, not all of it is known.
            self.listed(version);
        } else {
            self.send(Item::Shown(version));
        }
    }

    /// Reports that the API server has listed everything that can be read in this version, and not what was there before.
    pub fn listed(&self, version: u64) {
        if self.send(Item::Listed(version)) {
            self.has_lost_told.store(false, Ordering::Relaxed);
        }
    }

    /// Returns whether there was room.
    fn send(&self, item: Item) -> bool {
        let is_sent = self.items.try_send(item).is_ok();
        if !is_sent {
            self.metrics.unreported();
        }
        is_sent
    }
}

/// How long another server must be quiet before it is reported as an error again.
const QUIET: Duration = Duration::from_hours(1);

/// Passes events to the log and to the history.
#[derive(Debug)]
pub struct Reporter {
    items: mpsc::Receiver<Item>,
    recorder: Recorder,
    /// Only who writes records what happens.
    leadership: Leadership,
    /// The status of ReplicaCounts, if there are any: it has what happened.
    statuses: Option<Arc<Statuses>>,
    /// When another server was last seen.
    another_server: Option<Timestamp>,
}

impl Reporter {
    /// Runs until `shutdown`, and then reports the events that still wait.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let mut terms = self.leadership.terms();
        loop {
            tokio::select! {
                biased;
                term = terms.changed() => match term {
                    Some(_) => self.recorder.record_unrecorded(),
                    None => self.recorder.follow(),
                },
                item = self.items.recv() => match item {
                    Some(item) => self.report(item),
                    None => return,
                },
                () = shutdown.cancelled() => break,
            }
        }
        self.items.close();
        while let Some(item) = self.items.recv().await {
            self.report(item);
        }
    }

    /// Passes an event to all consumers.
    fn report(&mut self, item: Item) {
        match item {
            Item::Event(event) => {
                log(&event, &mut self.another_server);
                if self.leadership.term().is_some() {
                    self.recorder.record(&event);
                } else {
                    self.recorder.observe(&event, self.leadership.holder());
                }
                if let Some(statuses) = &self.statuses {
                    statuses.mark(&event.target);
                }
            }
            Item::Told(told) => self.recorder.adopt(told),
            Item::Shown(version) => self.recorder.record_shown(version),
            Item::Listed(version) => self.recorder.record_listed(version),
        }
    }
}

/// A report and its reporter, which adds to the history with `recorder`, and to traces.
pub fn report(
    recorder: Recorder,
    traces: Traces,
    leadership: Leadership,
    statuses: Option<Arc<Statuses>>,
) -> (Report, Reporter) {
    let (items, waiting) = mpsc::channel(MAX_WAITING);
    let reporter = Reporter { items: waiting, recorder, leadership, statuses, another_server: None };
    let (metrics, has_lost_told) = (ReconcileMetrics::default(), Arc::default());
    (Report { metrics, traces, items, has_lost_told }, reporter)
}

/// Logs a line at level `debug` if the first argument is true, and at level `info` otherwise.
macro_rules! info_or_debug {
    ($is_debug:expr, $($line:tt)*) => {
        if $is_debug { debug!($($line)*) } else { info!($($line)*) }
    };
}

/// Logs an event. Events that are repeated in a fight are at level `debug`. `another_server` is when another server was
/// last seen.
fn log(event: &Event, another_server: &mut Option<Timestamp>) {
    let Event { target, generation, kind, .. } = event;
    let generation = generation.unwrap_or_default();
    match kind {
        EventKind::Set { by, from, to, until, reason } => {
            let (by, from) = (text(by.as_ref()), from.map(Replicas::get));
            let hold_until = until.map(tracing::field::display);
            info!(%target, by, %to, from, hold_until, generation, reason, "set");
        }
        EventKind::HoldEnded { from, to } => {
            info!(%target, %from, to = to.map(Replicas::get), generation, "the temporary count has ended");
        }
        EventKind::Deleted { by, desired } => info!(%target, by = text(by.as_ref()), %desired, "deleted"),
        EventKind::EnforcementSet { by, enforcement } => log_enforcement(event, by.as_ref(), *enforcement),
        EventKind::Drifted { drift, is_contested } => {
            let (Drift { from, to, likely_by, .. }, by, via) = (drift, by(Some(drift)), via(Some(drift)));
            let likely_by = likely_by.as_deref();
            info_or_debug!(
                *is_contested, %target, desired = %from, found = %to, by, likely_by, via, generation, "drifted"
            );
        }
        EventKind::AnotherServer { drift } => log_another_server(event, drift, another_server),
        EventKind::Repaired { drift, from, to, took, pods_lost, .. } => {
            let (by, took_ms) = (by(Some(drift)), milliseconds(*took));
            info!(%target, %from, %to, by, took_ms, pods_lost, "repaired");
        }
        EventKind::Applied { from, to, took } => {
            info!(%target, %from, %to, took_ms = milliseconds(*took), "applied");
        }
        EventKind::Resolved { drift, how, is_contested, pods_lost } => {
            let (Drift { from, to, .. }, by, how) = (drift, by(Some(drift)), how.as_str());
            info_or_debug!(
                *is_contested, %target, desired = %from, found = %to, by, how, pods_lost, "resolved"
            );
        }
        EventKind::PodsLost { more } => debug!(%target, more, "pods lost"),
        EventKind::LateCost(LateCost { drift, pods_lost }) => {
            let (Drift { from, to, .. }, by) = (drift, by(Some(drift)));
            info!(%target, desired = %from, found = %to, by, pods_lost, "pods lost after the end of a drift");
        }
        EventKind::Contested { drift, wait } => {
            let drift = drift.as_ref();
            let likely_by = drift.and_then(|drift| drift.likely_by.as_deref());
            warn!(%target, by = by(drift), likely_by, via = via(drift), ?wait, "contested");
        }
        EventKind::Calmed => info!(%target, "no longer contested"),
        EventKind::SteadyConflict(SteadyConflict { by, likely_by, period, rounds }) => {
            let (by, likely_by) =
                (by.as_ref().map_or(UNKNOWN, |writer| &*writer.manager), likely_by.as_deref());
            warn!(%target, by, likely_by, ?period, rounds, "steady conflict");
        }
        EventKind::SteadyConflictEnded => info!(%target, "steady conflict ended"),
        EventKind::Missing => info!(%target, "missing: it does not exist, or is being deleted"),
        EventKind::Autoscaled { autoscaler: Some(autoscaler) } => {
            warn!(%target, %autoscaler, "autoscaled: an autoscaler targets it, too");
        }
        EventKind::Autoscaled { autoscaler: None } => info!(%target, "no longer autoscaled"),
        EventKind::WriteFailed(failure) => log_failure(event, failure),
    }
}

fn log_enforcement(Event { target, generation, .. }: &Event, by: Option<&String>, enforcement: Enforcement) {
    let (enforcement, until) = match enforcement {
        Enforcement::Enforce => ("enforce", None),
        Enforcement::Ignore { until } => ("ignore", until.map(tracing::field::display)),
    };
    let generation = generation.unwrap_or_default();
    info!(%target, by = text(by), enforcement, until, generation, "enforcement set");
}

/// Another server changes counts of many targets, again and again, so only the first one is an error.
fn log_another_server(event: &Event, drift: &Drift, last_seen: &mut Option<Timestamp>) {
    let (target, Drift { from, to, .. }) = (&event.target, drift);
    let last_seen = last_seen.replace(event.at);
    if last_seen.is_none_or(|last| event.at.duration_since(last).unsigned_abs() >= QUIET) {
        error!(
            %target, desired = %from, found = %to, by = by(Some(drift)),
            "another replica-count-manager changes counts in this cluster: run only one, with one store"
        );
    } else {
        debug!(%target, desired = %from, found = %to, "another replica-count-manager");
    }
}

fn log_failure(event: &Event, failure: &WriteFailure) {
    let target = &event.target;
    let WriteFailure { drift, to, failure, code, message, in_a_row: failures, should_warn, delay } = failure;
    let error = message;
    let (by, reason) = (by(drift.as_ref()), failure.as_str());
    if *should_warn {
        warn!(%target, %to, by, reason, code, error, failures, ?delay, "write failed");
    } else {
        debug!(%target, %to, by, reason, code, error, failures, ?delay, "write failed");
    }
}

fn text(by: Option<&String>) -> &str {
    by.map_or("", String::as_str)
}

fn by(drift: Option<&Drift>) -> &str {
    drift.map(Drift::manager).filter(|manager| !manager.is_empty()).unwrap_or(UNKNOWN)
}

/// How the field manager wrote: through `scale`, or by `Apply` or `Update`.
fn via(drift: Option<&Drift>) -> &str {
    match drift.and_then(|drift| drift.by.as_ref()) {
        Some(owner) => owner.writer.subresource.as_deref().unwrap_or(owner.writer.operation.as_str()),
        None => UNKNOWN,
    }
}

/// Milliseconds, rounded to three decimals.
fn milliseconds(duration: Duration) -> f64 {
    (duration.as_secs_f64() * 1_000_000.0).round() / 1000.0
}

#[cfg(test)]
mod tests;
