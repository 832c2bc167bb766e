//! Alerts for API v2 of Prometheus' Alertmanager: what is serious fires, and what ends it resolves it.

use std::time::Duration;

use jiff::Timestamp;
use serde_json::{Value, json};

use super::Notice;
use super::digest::{Story, Told};
use crate::history::entry::What;
use crate::target::Target;
use crate::words::{Severity, sentence, severity};

/// How long something that happened once fires.
const MOMENT: Duration = Duration::from_mins(5);
/// How long something that lasts fires if nothing ends it.
const STATE: Duration = Duration::from_hours(1);

/// The body: an array, which may be empty.
pub fn alerts(notice: &Notice<'_>) -> Value {
    let stories = notice.digest.stories();
    let alerts = stories.iter().flat_map(|(target, story)| {
        What::ALL.into_iter().filter_map(|what| alert(notice, target, story, what))
    });
    alerts.collect()
}

/// The alert for events of one kind. `None`: they are not serious, or there are none and nothing has ended them.
fn alert(notice: &Notice<'_>, target: &Target, story: &Story, what: What) -> Option<Value> {
    if what.severity() == Severity::Info {
        return None;
    }
    let is_serious = |told: &Told| severity(&told.last) > Severity::Info;
    let begun = story.of(what).filter(|told| is_serious(told));
    let is_end =
        |told: &&Told| ends(what).contains(&told.last.what) || (told.last.what == what && !is_serious(told));
    let ended = story.told().into_iter().rfind(is_end);
    let (told, ends_at) = match (begun, ended) {
        (None, None) => return None,
        (None, Some(ended)) => (ended, ended.last.at),
        (Some(begun), Some(ended)) if ended.last.id > begun.last.id => (begun, ended.last.at),
        (Some(begun), _) => (begun, begun.last.at.saturating_add(lasts(what)).unwrap_or(Timestamp::MAX)),
    };
    let mut alert = json!({
        "labels": {
            "alertname": format!("ReplicaCount{}", what.reason()),
            "severity": what.severity().as_str(),
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

/// What ends the alert of such events. A drift that was repaired has happened all the same.
fn ends(what: What) -> &'static [What] {
    match what {
        What::Contested => &[What::Calmed],
        What::SteadyConflict => &[What::SteadyConflictEnded],
        What::Missing | What::WriteFailed => &[What::Repaired, What::Applied, What::Resolved],
        What::Set
        | What::Deleted
        | What::Enforced
        | What::Ignored
        | What::Drifted
        | What::AnotherServer
        | What::Repaired
        | What::Applied
        | What::Resolved
        | What::LateCost
        | What::Calmed
        | What::SteadyConflictEnded
        | What::Autoscaled
        | What::HoldEnded => &[],
    }
}

fn lasts(what: What) -> Duration {
    if matches!(what, What::Drifted | What::AnotherServer) { MOMENT } else { STATE }
}
