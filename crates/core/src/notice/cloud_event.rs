//! A message as a CloudEvent 1.0 in structured JSON: <https://github.com/cloudevents/spec>.

use std::collections::BTreeMap;

use serde_json::{Value, json};

use super::Notice;
use super::digest::Told;
use crate::history::entry::{Author, Entry};
use crate::managed_fields::Writer;
use crate::replicas::Replicas;
use crate::words::{sentence, severity};

/// The media type of the body.
pub const CONTENT_TYPE: &str = "application/cloudevents+json; charset=utf-8";
/// The type of the event.
pub const TYPE: &str = "dev.replicacount.events.v1";
/// Who sends it.
pub const SOURCE: &str = "/replica-count-manager";

/// The body.
pub fn cloud_event(notice: &Notice<'_>) -> Value {
    let digest = notice.digest;
    let stories = digest.stories();
    let events: Vec<_> = stories.iter().flat_map(|(_, story)| story.told()).map(event).collect();
    let counts: BTreeMap<_, _> = digest.counts().iter().map(|(what, count)| (what.name(), count)).collect();
    let (first, last) = digest.period().unwrap_or((notice.at, notice.at));
    let mut body = json!({
        "specversion": "1.0",
        "id": notice.id,
        "source": SOURCE,
        "type": TYPE,
        "time": notice.at.to_string(),
        "datacontenttype": "application/json",
        "data": {
            "route": notice.route,
            "severity": digest.severity().as_str(),
            "since": first.to_string(),
            "until": last.to_string(),
            "workloads": digest.workloads(),
            "total": digest.total(),
            "missed": digest.missed(),
            "counts": counts,
            "events": events,
        },
    });
    if let [(target, _)] = &stories[..]
        && digest.workloads() == 1
    {
        body["subject"] =
            json!(format!("{}/{}/{}", target.namespace(), target.kind().singular(), target.name()));
    }
    body
}

/// The last event of one kind of a workload, and how many there were. What an event does not have is left out.
fn event(told: &Told) -> Value {
    let entry: &Entry = &told.last;
    let mut event = json!({
        "id": entry.id,
        "type": entry.what.name(),
        "severity": severity(entry).as_str(),
        "kind": entry.target.kind().as_str(),
        "namespace": entry.target.namespace(),
        "name": entry.target.name(),
        "at": entry.at.to_string(),
        "firstAt": told.first_at.to_string(),
        "count": told.count,
        "text": sentence(entry),
    });
    let optional = [
        ("generation", entry.generation.map(Value::from)),
        ("from", entry.from.map(Replicas::get).map(Value::from)),
        ("to", entry.to.map(Replicas::get).map(Value::from)),
        ("by", entry.author.as_ref().map(author)),
        ("reason", entry.reason.as_deref().map(Value::from)),
        ("message", entry.message.as_deref().map(Value::from)),
        ("code", entry.code.map(Value::from)),
        ("podsLost", entry.pods_lost.map(Value::from)),
        ("times", entry.times.map(Value::from)),
        ("until", entry.until.map(|until| until.to_string().into())),
        ("autoscaler", entry.autoscaler.as_deref().map(Value::from)),
    ];
    for (name, value) in optional {
        if let Some(value) = value {
            event[name] = value;
        }
    }
    event
}

fn author(author: &Author) -> Value {
    match author {
        Author::User(name) => json!({ "name": name, "certainty": "proven" }),
        Author::Suspected(name) => json!({ "name": name, "certainty": "suspected" }),
        Author::Manager(writer) => {
            let Writer { manager, operation, subresource } = &**writer;
            json!({
                "name": manager,
                "certainty": "claimed",
                "operation": operation.as_str(),
                "subresource": subresource.as_deref().unwrap_or_default(),
            })
        }
    }
}
