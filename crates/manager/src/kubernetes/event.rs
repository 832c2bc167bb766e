//! Events of Kubernetes (`events.k8s.io/v1`), which `kubectl describe` shows below an object.

use http::{Request, header};
use jiff::Timestamp;
use kube::Client;
use replica_count_core::own_writes::FIELD_MANAGER;
use replica_count_core::words::Severity;
use serde_json::{Value, json};

use super::lease::micro_time;
use super::path;
use super::replica_count::{RequestError, send};

/// The longest text, in bytes.
const MAX_NOTE: usize = 1024;
/// The longest name of an instance, in bytes.
const MAX_INSTANCE: usize = 128;
/// The longest part of an Event's name that is the name of its object, in bytes.
const MAX_NAME: usize = 200;

/// What an Event is about.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Regarding {
    /// Group and version of its API.
    pub api_version: &'static str,
    /// Its kind.
    pub kind: &'static str,
    /// Its namespace.
    pub namespace: Box<str>,
    /// Its name.
    pub name: Box<str>,
    /// Its identity, without which `kubectl describe` does not show the Event. `None`: it does not exist.
    pub uid: Option<Box<str>>,
}

/// An Event.
#[derive(Clone, Debug)]
pub struct KubernetesEvent<'a> {
    /// What it is about.
    pub regarding: &'a Regarding,
    /// Which process tells it.
    pub instance: &'a str,
    /// Its reason, one word.
    pub reason: &'static str,
    /// What was done, one word.
    pub action: &'static str,
    /// How serious it is.
    pub severity: Severity,
    /// What happened.
    pub text: &'a str,
    /// When it happened first.
    pub first: Timestamp,
    /// When it happened last.
    pub last: Timestamp,
    /// How often.
    pub count: u32,
}

impl KubernetesEvent<'_> {
    fn to_json(&self, name: &str) -> Value {
        let Regarding { api_version, kind, namespace, name: of, uid } = self.regarding;
        let mut event = json!({
            "apiVersion": "events.k8s.io/v1",
            "kind": "Event",
            "metadata": { "name": name, "namespace": namespace },
            "eventTime": micro_time(self.first),
            "reportingController": FIELD_MANAGER,
            "reportingInstance": begin(self.instance, MAX_INSTANCE),
            "action": self.action,
            "reason": self.reason,
            "regarding": { "apiVersion": api_version, "kind": kind, "namespace": namespace, "name": of, "uid": uid },
            "note": begin(self.text, MAX_NOTE),
            "type": if self.severity == Severity::Info { "Normal" } else { "Warning" },
        });
        // One is no series.
        if self.count > 1 {
            event["series"] = series(self.count, self.last);
        }
        event
    }
}

/// The name of the Event about an object that began at this time. `number` tells those apart that began together.
pub fn event_name(object: &str, first: Timestamp, number: u64) -> String {
    // A name may not have a dot after a dot or a hyphen.
    let object = begin(object, MAX_NAME).trim_end_matches(['.', '-']);
    format!("{object}.{:x}", first.as_nanosecond() + i128::from(number))
}

/// Creates an Event.
pub async fn create(client: &Client, name: &str, event: &KubernetesEvent<'_>) -> Result<(), RequestError> {
    let uri = format!("{}?fieldManager={FIELD_MANAGER}", path::events(&event.regarding.namespace));
    let request = Request::post(uri)
        .header(header::CONTENT_TYPE, "application/json")
        .body(event.to_json(name).to_string().into_bytes());
    send::<Value>(client, request).await.map(drop)
}

/// Changes how often an Event has happened, and when last. Nothing else of it can be changed.
pub async fn count(
    client: &Client,
    namespace: &str,
    name: &str,
    count: u32,
    last: Timestamp,
) -> Result<(), RequestError> {
    let uri = format!("{}/{name}?fieldManager={FIELD_MANAGER}", path::events(namespace));
    let request = Request::patch(uri)
        .header(header::CONTENT_TYPE, "application/merge-patch+json")
        .body(json!({ "series": series(count, last) }).to_string().into_bytes());
    send::<Value>(client, request).await.map(drop)
}

fn series(count: u32, last: Timestamp) -> Value {
    json!({ "count": count, "lastObservedTime": micro_time(last) })
}

fn begin(text: &str, bytes: usize) -> &str {
    &text[..text.floor_char_boundary(bytes)]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_too_long_is_cut() {
        let regarding = Regarding {
            api_version: "apps/v1",
            kind: "Deployment",
            namespace: "shop".into(),
            name: "web".into(),
            uid: None,
        };
        let (first, last) = (Timestamp::UNIX_EPOCH, Timestamp::from_second(1).expect("in range"));
        let (instance, text) = ("p".repeat(300), "ä".repeat(600));
        let event = KubernetesEvent {
            regarding: &regarding,
            instance: &instance,
            reason: "Drifted",
            action: "Observe",
            severity: Severity::Warning,
            text: &text,
            first,
            last,
            count: 2,
        };
        let json = event.to_json("web.1");
        assert_eq!(json["note"].as_str().map(str::len), Some(1024));
        assert_eq!(json["reportingInstance"].as_str().map(str::len), Some(128));
        assert_eq!(json["series"]["lastObservedTime"], "1970-01-01T00:00:01.000000Z");
        assert_eq!(KubernetesEvent { count: 1, ..event }.to_json("web.1")["series"], Value::Null);
    }

    #[test]
    fn a_name_is_valid() {
        let object = format!("{}.{}", "a".repeat(199), "b".repeat(53));
        let name = event_name(&object, Timestamp::from_second(1_800_000_000).expect("in range"), 1);
        assert!(name.starts_with(&format!("{}.18", "a".repeat(199))) && name.len() < 253, "{name}");
    }
}
