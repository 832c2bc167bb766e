//! Alerts for API v2 of Prometheus' Alertmanager: what is serious fires, and what ends it resolves it.

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Notice;
use super::digest::{Digest, Story, Told};
use super::filter::RouteFilter;
use super::firing::{Firing, MOMENT, after, ends, fired, fires, lasts};
use super::text::grouped;
use crate::history::entry::{Entry, What};
use crate::target::Target;
use crate::words::{self, Severity, sentence, severity, usual_severity};

/// Workloads whose alerts are sent.
pub const MAX_WORKLOADS: usize = 5000;
/// Alerts in one request.
pub const MAX_ALERTS: usize = 1000;

/// Whether an event fires an alert that passes the filter, or ends one that fires, or that `collected` will fire. What ends an
/// alert need not pass the filter itself.
pub fn takes(filter: &RouteFilter, entry: &Entry, firing: &Firing, collected: Option<&Digest>) -> bool {
    let (target, story) = (&entry.target, collected.and_then(|digest| digest.story(&entry.target)));
    let is_sent =
        |what| firing.has(target, what, entry.at) || story.is_some_and(|story| story.of(what).is_some());
    let ends_one = || fired(filter).any(|what| ends(entry, what) && is_sent(what));
    fires(filter, entry) || (filter.covers(target) && ends_one())
}

/// The bodies: arrays of alerts, none of them empty. Those that fire come before those that have ended. `firing` is told what
/// is sent.
pub fn alerts(notice: &Notice<'_>, firing: &mut Firing) -> Vec<Value> {
    firing.forget_before(notice.at);
    let (mut alerts, mut ended) = (Vec::from_iter(left_out(notice)), Vec::new());
    for (target, story) in notice.digest.stories() {
        for what in fired(notice.filter) {
            let was_firing = firing.has(target, what, notice.at);
            let Some(span) = Span::of(story, what, was_firing) else { continue };
            if span.has_ended {
                firing.end(target, what);
                ended.push(alert(notice, target, what, &span));
            } else {
                firing.begin(target, what, span.told.last.at);
                alerts.push(alert(notice, target, what, &span));
            }
        }
    }
    alerts.append(&mut ended);
    alerts.chunks(MAX_ALERTS).map(|chunk| Value::from(chunk.to_vec())).collect()
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

/// When an alert fires.
struct Span<'a> {
    /// The events that fire it, or that have ended it if it was sent before.
    told: &'a Told,
    ends_at: Timestamp,
    has_ended: bool,
}

impl<'a> Span<'a> {
    /// `None`: no event has fired it, and none has ended it if it `was_firing` before.
    fn of(story: &'a Story, what: What, was_firing: bool) -> Option<Self> {
        let begun = story.of(what).filter(|told| severity(&told.last) > Severity::Info);
        let ended = story.told().into_iter().rfind(|told| ends(&told.last, what));
        match (begun, ended) {
            (None, Some(ended)) if was_firing => {
                Some(Self { told: ended, ends_at: ended.last.at, has_ended: true })
            }
            (None, _) => None,
            (Some(begun), Some(ended)) if ended.last.id > begun.last.id => {
                Some(Self { told: begun, ends_at: ended.last.at, has_ended: true })
            }
            (Some(begun), _) => {
                Some(Self { told: begun, ends_at: after(begun.last.at, lasts(what)), has_ended: false })
            }
        }
    }
}

fn alert(notice: &Notice<'_>, target: &Target, what: What, span: &Span<'_>) -> Value {
    let Span { told, ends_at, .. } = span;
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
        // An alert that has ended before it began is refused.
        "startsAt": told.first_at.min(*ends_at).to_string(),
        "endsAt": ends_at.to_string(),
    });
    if let Some(link) = notice.links.first() {
        alert["generatorURL"] = link.url(target).into();
    }
    alert
}
