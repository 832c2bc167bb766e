//! Which alerts fire: what begins one, what ends it, and what has been sent.
//!
//! An alert ends by itself, so an end is sent only for what was sent before: most repairs end no alert at all.

use std::collections::BTreeMap;
use std::time::Duration;

use jiff::Timestamp;

use super::filter::RouteFilter;
use crate::history::entry::{Entry, What};
use crate::target::Target;
use crate::words::{self, Severity, severity, usual_severity};

/// How long something that happened once fires.
pub(super) const MOMENT: Duration = Duration::from_mins(5);
/// How long something that lasts fires if nothing ends it.
const STATE: Duration = Duration::from_hours(1);
/// Workloads whose alerts are known. Those of others end by themselves.
const MAX_KNOWN: usize = 20_000;

/// The alerts of a route that fire, as far as something can end them.
#[derive(Clone, Debug, Default)]
pub struct Firing(BTreeMap<Target, BTreeMap<What, Timestamp>>);

impl Firing {
    /// Takes into account what another server has sent to the route, or this one before it was restarted.
    /// What is over by now does not matter.
    pub fn observe(&mut self, filter: &RouteFilter, entry: &Entry, now: Timestamp) {
        if fires(filter, entry) && after(entry.at, STATE) > now {
            self.begin(&entry.target, entry.what, entry.at);
        }
        for what in fired(filter).filter(|what| ends(entry, *what)) {
            self.end(&entry.target, what);
        }
    }

    /// Whether an alert fires at this time.
    pub fn has(&self, target: &Target, what: What, at: Timestamp) -> bool {
        self.0.get(target).and_then(|alerts| alerts.get(&what)).is_some_and(|ends_at| *ends_at > at)
    }

    pub(super) fn begin(&mut self, target: &Target, what: What, at: Timestamp) {
        if lasts(what) != STATE || (self.0.len() >= MAX_KNOWN && !self.0.contains_key(target)) {
            return;
        }
        self.0.entry(target.clone()).or_default().insert(what, after(at, STATE));
    }

    pub(super) fn end(&mut self, target: &Target, what: What) {
        let Some(alerts) = self.0.get_mut(target) else { return };
        alerts.remove(&what);
        if alerts.is_empty() {
            self.0.remove(target);
        }
    }

    /// Forgets what has ended by itself.
    pub(super) fn forget_before(&mut self, at: Timestamp) {
        self.0.retain(|_, alerts| {
            alerts.retain(|_, ends_at| *ends_at > at);
            !alerts.is_empty()
        });
    }
}

/// The events whose alerts pass the filter.
pub(super) fn fired(filter: &RouteFilter) -> impl Iterator<Item = What> {
    let passes = |what: &What| {
        let severity = usual_severity(*what);
        severity > Severity::Info && filter.takes(*what, severity)
    };
    words::ALL.into_iter().filter(passes)
}

/// Whether an event fires an alert that passes the filter.
pub(super) fn fires(filter: &RouteFilter, entry: &Entry) -> bool {
    severity(entry) > Severity::Info && filter.matches(entry)
}

/// Whether an event ends the alert of such events. A drift that was repaired has happened all the same.
pub(super) fn ends(entry: &Entry, what: What) -> bool {
    let was_managed = entry.from.is_some();
    match entry.what {
        What::Calmed => what == What::Contested,
        What::SteadyConflictEnded => what == What::SteadyConflict,
        What::Repaired | What::Applied | What::Resolved => {
            matches!(what, What::Missing | What::WriteFailed)
        }
        What::Autoscaled => what == What::Autoscaled && entry.autoscaler.is_none(),
        // Nothing of the workload matters any more.
        What::Deleted => lasts(what) == STATE,
        What::HoldEnded if entry.to.is_none() => lasts(what) == STATE,
        // If it fails again, that is reported again. Another count ends a conflict, but not a steady one.
        What::Set | What::HoldEnded => {
            let is_other_count = was_managed && entry.from != entry.to;
            (what == What::WriteFailed && was_managed) || (what == What::Contested && is_other_count)
        }
        What::Enforced
        | What::Ignored
        | What::Drifted
        | What::AnotherServer
        | What::LateCost
        | What::Contested
        | What::SteadyConflict
        | What::Missing
        | What::WriteFailed => false,
    }
}

pub(super) fn after(at: Timestamp, time: Duration) -> Timestamp {
    at.saturating_add(time).unwrap_or(Timestamp::MAX)
}

pub(super) fn lasts(what: What) -> Duration {
    if matches!(what, What::Drifted | What::AnotherServer) { MOMENT } else { STATE }
}
