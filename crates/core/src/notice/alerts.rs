//! Alerts for API v2 of Prometheus' Alertmanager: what is serious fires, and what ends it resolves it.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Notice;
use super::digest::{Story, Told};
use super::filter::RouteFilter;
use super::text::grouped;
use crate::history::entry::{Entry, What};
use crate::target::Target;
use crate::words::{self, Severity, sentence, severity, usual_severity};

/// Workloads whose alerts are sent.
pub const MAX_WORKLOADS: usize = 5000;
/// Alerts in one request.
pub const MAX_ALERTS: usize = 1000;
/// How long something that happened once fires.
const MOMENT: Duration = Duration::from_mins(5);
/// How long something that lasts fires if nothing ends it.
const STATE: Duration = Duration::from_hours(1);

/// Whether an event fires an alert that passes the filter, or ends one: what ends an alert need not pass itself.
pub fn takes(filter: &RouteFilter, entry: &Entry) -> bool {
    let fires = severity(entry) > Severity::Info && filter.matches(entry);
    fires || (filter.covers(&entry.target) && fired(filter).any(|what| ends(entry, what)))
}

/// The bodies: arrays of alerts, none of them empty.
pub fn alerts(notice: &Notice<'_>) -> Vec<Value> {
    let stories = notice.digest.stories();
    let of_workloads = stories.iter().flat_map(|(target, story)| {
        fired(notice.filter).filter_map(|what| alert(notice, target, story, what))
    });
    let alerts: Vec<Value> = left_out(notice).into_iter().chain(of_workloads).collect();
    alerts.chunks(MAX_ALERTS).map(|chunk| Value::from(chunk.to_vec())).collect()
}

/// The events whose alerts pass the filter.
fn fired(filter: &RouteFilter) -> impl Iterator<Item = What> {
    let passes = |what: &What| {
        let severity = usual_severity(*what);
        severity > Severity::Info && filter.takes(*what, severity)
    };
    words::ALL.into_iter().filter(passes)
}

/// Says that alerts are missing. `None`: none is.
fn left_out(notice: &Notice<'_>) -> Option<Value> {
    let (workloads, events) = (notice.digest.left_out() as u64, notice.digest.missed());
    if workloads == 0 && events == 0 {
        return None;
    }
    let (workloads, events) = (grouped(workloads), grouped(events));
    let summary = format!(
        "Too much happened at once: the alerts of {workloads} workloads, or their ends, were left out, and {events} \
         events were missed"
    );
    Some(json!({
        "labels": {
            "alertname": "ReplicaCountAlertsLeftOut",
            "severity": Severity::Warning.as_str(),
            "route": notice.route,
        },
        "annotations": { "summary": summary },
        "startsAt": notice.at.to_string(),
        "endsAt": after(notice.at, MOMENT).to_string(),
    }))
}

/// The alert for events of one kind. `None`: there are none, and nothing has ended them.
fn alert(notice: &Notice<'_>, target: &Target, story: &Story, what: What) -> Option<Value> {
    let begun = story.of(what).filter(|told| severity(&told.last) > Severity::Info);
    let ended = story.told().into_iter().rfind(|told| ends(&told.last, what));
    let (told, ends_at) = match (begun, ended) {
        (None, None) => return None,
        (None, Some(ended)) => (ended, ended.last.at),
        (Some(begun), Some(ended)) if ended.last.id > begun.last.id => (begun, ended.last.at),
        (Some(begun), _) => (begun, after(begun.last.at, lasts(what))),
    };
    let mut alert = json!({
        "labels": {
            "alertname": format!("ReplicaCount{}", words::reason(what)),
            "severity": usual_severity(what).as_str(),
            "namespace": target.namespace(),
            "kind": target.kind().as_str(),
            "name": target.name(),
            "route": notice.route,
        },
        "annotations": { "summary": sentence(&told.last), "count": told.count.to_string() },
        "startsAt": starts_at(told, ends_at).to_string(),
        "endsAt": ends_at.to_string(),
    });
    if let Some(link) = notice.links.first() {
        alert["generatorURL"] = link.url(target).into();
    }
    Some(alert)
}

/// An alert that has ended before it began is refused.
fn starts_at(told: &Told, ends_at: Timestamp) -> Timestamp {
    told.first_at.min(ends_at)
}

/// Whether an event ends the alert of such events. A drift that was repaired has happened all the same.
fn ends(entry: &Entry, what: What) -> bool {
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

fn after(at: Timestamp, time: Duration) -> Timestamp {
    at.saturating_add(time).unwrap_or(Timestamp::MAX)
}

fn lasts(what: What) -> Duration {
    if matches!(what, What::Drifted | What::AnotherServer) { MOMENT } else { STATE }
}
