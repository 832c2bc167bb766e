//! A Lease as this server reads and writes it. Every write but the first tests the version that it was decided on.

use std::num::NonZeroU64;
use std::time::Duration;

use http::{Request, StatusCode, header};
use jiff::Timestamp;
use kube::Client;
use replica_count_core::leader::{self, Outcome};
use replica_count_core::lease::{Holder, Lease};
use replica_count_core::own_writes::FIELD_MANAGER;
use replica_count_wire::messages;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::{Instant, timeout_at};

use super::cause::chain;
use super::malformed::MalformedObject;
use super::metadata::Metadata;
use super::path;
use super::watch::Object;

/// The kind, for messages.
const KIND: &str = "Lease";
/// Kubernetes wants exactly six digits.
const MICRO_TIME: &str = "%Y-%m-%dT%H:%M:%S%.6fZ";

/// A Lease from the API server.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "Json")]
pub struct LeaseObject {
    metadata: Metadata,
    holder: Holder,
    /// How often its holder has changed, for people.
    transitions: i32,
}

/// The fields that are parsed from JSON.
#[derive(Deserialize)]
struct Json {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Spec {
    holder_identity: Option<String>,
    lease_duration_seconds: Option<i32>,
    renew_time: Option<String>,
    lease_transitions: Option<i32>,
}

impl From<Json> for LeaseObject {
    fn from(Json { metadata, spec }: Json) -> Self {
        let Spec { holder_identity, lease_duration_seconds, renew_time, lease_transitions } = spec;
        Self {
            metadata,
            holder: holder(holder_identity.unwrap_or_default(), lease_duration_seconds, renew_time.is_some()),
            transitions: lease_transitions.unwrap_or_default(),
        }
    }
}

impl From<messages::Lease> for LeaseObject {
    fn from(messages::Lease { metadata, spec }: messages::Lease) -> Self {
        let spec = spec.unwrap_or_default();
        let holder = match String::from_utf8(spec.holder_identity.into()) {
            Ok(identity) => holder(identity, spec.lease_duration_seconds, spec.renew_time.is_some()),
            Err(_) => Holder::Unreadable,
        };
        Self {
            metadata: metadata.unwrap_or_default().into(),
            holder,
            transitions: spec.lease_transitions.unwrap_or_default(),
        }
    }
}

/// Only whoever has held a Lease has renewed it, so that time tells one that was given up from a new one.
fn holder(identity: String, seconds: Option<i32>, was_renewed: bool) -> Holder {
    let seconds = seconds.and_then(|seconds| u64::try_from(seconds).ok()).filter(|seconds| *seconds > 0);
    match (identity.is_empty(), was_renewed) {
        (false, _) => Holder::Somebody { identity, duration: seconds.map(Duration::from_secs) },
        (true, true) => Holder::Released,
        (true, false) => Holder::Never,
    }
}

impl Object for LeaseObject {
    type Message = messages::Lease;

    fn resource_version(&self) -> Option<&str> {
        self.metadata.resource_version.as_deref()
    }
}

impl LeaseObject {
    /// Its name.
    pub fn name(&self) -> &str {
        self.metadata.name.as_deref().unwrap_or_default()
    }

    /// Converts it to a [`Lease`], and how often its holder has changed.
    pub fn into_lease(self) -> Result<(Lease, i32), MalformedObject> {
        let Metadata { namespace, name, uid, resource_version } = self.metadata;
        let version = resource_version.as_deref().and_then(|version| version.parse::<NonZeroU64>().ok());
        match (uid, version) {
            (Some(uid), Some(version)) => {
                Ok((Lease { uid: uid.into(), version, holder: self.holder }, self.transitions))
            }
            (_, _) => Err(MalformedObject {
                kind: KIND,
                namespace: namespace.unwrap_or_default(),
                name: name.unwrap_or_default(),
                reason: "has no uid, or a resourceVersion that is not a number".to_owned(),
            }),
        }
    }
}

/// Reads and writes one Lease for one process.
#[derive(Clone)]
pub struct LeaseClient {
    /// The API server.
    pub client: Client,
    /// The namespace of the Lease.
    pub namespace: String,
    /// Its name.
    pub name: String,
    /// The identity of this process.
    pub identity: String,
    /// How long this process holds it after each write, in whole seconds.
    pub duration: Duration,
}

/// Why the outcome of a request is not known. Each message is one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// A right is missing.
    #[error("forbidden: this server needs get, list, watch, create and patch of leases.coordination.k8s.io")]
    Forbidden,
    /// There was no answer in time.
    #[error("the Kubernetes API server did not answer in time")]
    Deadline,
    /// The API server could not be reached, or failed.
    #[error("the request to the Kubernetes API server failed: {0}")]
    Failed(String),
}

impl LeaseClient {
    /// Sends a request and waits for the answer until the deadline. `holder` is whom the Lease was last seen with, and how
    /// often that had changed. An outcome that is not known comes with the reason.
    pub async fn send(
        &self,
        request: &leader::Request,
        holder: (Option<&str>, i32),
        deadline: Instant,
    ) -> (Outcome, Option<LeaseError>) {
        let now = Timestamp::now();
        let request = match request {
            leader::Request::Read => Request::get(self.object_path()).body(Vec::new()),
            leader::Request::Create => {
                let metadata = json!({ "name": self.name, "namespace": self.namespace });
                let object =
                    json!({ "apiVersion": "coordination.k8s.io/v1", "kind": KIND, "metadata": metadata });
                let path = format!("{}?fieldManager={FIELD_MANAGER}", path::leases(&self.namespace));
                Request::post(path)
                    .header(header::CONTENT_TYPE, "application/json")
                    .body(object.to_string().into_bytes())
            }
            leader::Request::Hold(uid, version) => self.patch(uid, *version, &self.held(holder, now)),
            leader::Request::Release(uid, version) => {
                self.patch(uid, *version, &json!({ "holderIdentity": null, "renewTime": micro_time(now) }))
            }
        };
        let request = match request {
            Ok(request) => request,
            Err(error) => return (Outcome::Unknown, Some(LeaseError::Failed(error.to_string()))),
        };
        let is_read = request.method() == http::Method::GET;
        let answer = timeout_at(deadline, self.client.request::<LeaseObject>(request)).await;
        match answer {
            Err(_elapsed) => (Outcome::Unknown, Some(LeaseError::Deadline)),
            Ok(answer) => outcome(answer, is_read),
        }
    }

    fn object_path(&self) -> String {
        format!("{}/{}", path::leases(&self.namespace), self.name)
    }

    /// The fields of a Lease that this process holds.
    fn held(&self, (holder, transitions): (Option<&str>, i32), now: Timestamp) -> Value {
        let mut spec = json!({
            "holderIdentity": self.identity,
            "leaseDurationSeconds": self.duration.as_secs(),
            "renewTime": micro_time(now),
        });
        if holder != Some(&self.identity) {
            spec["acquireTime"] = micro_time(now).into();
            spec["leaseTransitions"] = transitions.saturating_add(1).into();
        }
        spec
    }

    /// A merge patch that the API server refuses with 409 for another object or version. It keeps labels, and all other
    /// fields.
    fn patch(
        &self,
        uid: &replica_count_core::uid::Uid,
        version: NonZeroU64,
        spec: &Value,
    ) -> http::Result<Request<Vec<u8>>> {
        let metadata = json!({ "uid": uid.to_string(), "resourceVersion": version.to_string() });
        let patch = json!({ "metadata": metadata, "spec": spec });
        Request::patch(format!("{}?fieldManager={FIELD_MANAGER}", self.object_path()))
            .header(header::CONTENT_TYPE, "application/merge-patch+json")
            .body(patch.to_string().into_bytes())
    }
}

pub(super) fn micro_time(at: Timestamp) -> String {
    at.strftime(MICRO_TIME).to_string()
}

fn outcome(answer: kube::Result<LeaseObject>, is_read: bool) -> (Outcome, Option<LeaseError>) {
    let failed = |error: LeaseError| (Outcome::Unknown, Some(error));
    match answer {
        Ok(object) => match object.into_lease() {
            Ok((lease, _)) if is_read => (Outcome::Read(Some(lease)), None),
            Ok((lease, _)) => (Outcome::Written(lease), None),
            Err(malformed) => failed(LeaseError::Failed(malformed.to_string())),
        },
        Err(kube::Error::Api(status)) => match StatusCode::from_u16(status.code) {
            Ok(StatusCode::NOT_FOUND) if is_read => (Outcome::Read(None), None),
            // A POST is answered so if there is no namespace; then reading finds nothing either, and it is tried again.
            Ok(StatusCode::NOT_FOUND | StatusCode::CONFLICT) => (Outcome::Refused, None),
            // Another object that has the same version.
            Ok(StatusCode::UNPROCESSABLE_ENTITY) if status.message.contains("metadata.uid") => {
                (Outcome::Refused, None)
            }
            Ok(StatusCode::FORBIDDEN) => failed(LeaseError::Forbidden),
            _ => failed(LeaseError::Failed(status.message.chars().take(200).collect())),
        },
        Err(other) => failed(LeaseError::Failed(chain(&other))),
    }
}

#[cfg(test)]
mod tests {
    use replica_count_wire::messages::{LeaseSpec, ObjectMeta, Time};

    use super::*;

    fn somebody(identity: &str, seconds: Option<u64>) -> Holder {
        Holder::Somebody { identity: identity.to_owned(), duration: seconds.map(Duration::from_secs) }
    }

    #[track_caller]
    fn check(spec: &Value, expected: &Holder) {
        let metadata = json!({ "namespace": "a", "name": "b", "uid": "u", "resourceVersion": "7" });
        let object: LeaseObject =
            serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap();
        assert_eq!(object.name(), "b");
        let (lease, _) = object.into_lease().unwrap();
        assert_eq!((lease.version.get(), &lease.holder), (7, expected), "{spec}");

        let seconds = spec["leaseDurationSeconds"].as_i64().map(|seconds| i32::try_from(seconds).unwrap());
        let message = messages::Lease {
            metadata: Some(ObjectMeta {
                uid: "u".into(),
                resource_version: "7".into(),
                ..ObjectMeta::default()
            }),
            spec: Some(LeaseSpec {
                holder_identity: spec["holderIdentity"].as_str().unwrap_or_default().to_owned().into(),
                lease_duration_seconds: seconds,
                renew_time: spec["renewTime"].as_str().map(|_| Time { seconds: 1 }),
                lease_transitions: None,
            }),
        };
        let (lease, _) = LeaseObject::from(message).into_lease().unwrap();
        assert_eq!((lease.version.get(), &lease.holder), (7, expected), "{spec}");
    }

    #[test]
    fn both_encodings_say_who_holds_it() {
        let renewed = "2026-01-02T03:04:05.000006Z";
        check(&json!({}), &Holder::Never);
        check(&json!({ "leaseDurationSeconds": 15 }), &Holder::Never);
        check(&json!({ "renewTime": renewed }), &Holder::Released);
        check(&json!({ "holderIdentity": "", "renewTime": renewed }), &Holder::Released);
        check(&json!({ "holderIdentity": "x", "leaseDurationSeconds": 15 }), &somebody("x", Some(15)));
        check(&json!({ "holderIdentity": "x\u{1}" }), &somebody("x\u{1}", None));
        check(&json!({ "holderIdentity": "x", "leaseDurationSeconds": -1 }), &somebody("x", None));
        check(&json!({ "holderIdentity": "x", "leaseDurationSeconds": 0 }), &somebody("x", None));
    }

    #[test]
    fn an_identity_that_is_no_text_is_somebodys() {
        let spec = LeaseSpec { holder_identity: vec![0xff].into(), ..LeaseSpec::default() };
        let metadata = ObjectMeta { uid: "u".into(), resource_version: "7".into(), ..ObjectMeta::default() };
        let object = LeaseObject::from(messages::Lease { metadata: Some(metadata), spec: Some(spec) });
        assert_eq!(object.into_lease().unwrap().0.holder, Holder::Unreadable);
    }

    #[test]
    fn times_have_six_digits() {
        let time = Timestamp::from_second(1).unwrap();
        assert_eq!(micro_time(time), "1970-01-01T00:00:01.000000Z");
    }
}
