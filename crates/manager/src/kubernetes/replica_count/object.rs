//! A ReplicaCount as it is read.

use std::sync::Arc;

use jiff::Timestamp;
use replica_count_core::managed_fields::{FieldOwner, owner_of_replicas};
use replica_count_core::own_writes::FIELD_MANAGER;
use serde::Deserialize;
use serde_json::Value;

use super::schema::ReplicaCountStatus;
use crate::kubernetes::MalformedObject;
use crate::kubernetes::watch::Object;

/// The annotations that this server writes.
pub(super) const SET_BY: &str = "replicacount.dev/set-by";
pub(super) const SET_AT: &str = "replicacount.dev/set-at";
/// The generation that the other annotations are about. They say nothing about any other one: then somebody else has
/// changed the object, and has left them as they were.
pub(super) const SET_GENERATION: &str = "replicacount.dev/set-generation";

/// When an object was created, in whole seconds. Absent in no object of an API server.
pub type CreatedAt = Option<Timestamp>;

/// The namespace and the name of an object.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ObjectKey {
    /// The namespace.
    pub namespace: Arc<str>,
    /// The name.
    pub name: Arc<str>,
}

/// An object, the `spec` of which is not interpreted yet: another version of the definition may allow more, and one
/// object must not keep all others from being read.
#[derive(Clone, Debug, Deserialize)]
pub struct ReplicaCount {
    metadata: Metadata,
    /// The `spec`.
    #[serde(default)]
    pub spec: Value,
    #[serde(default)]
    status: Value,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    namespace: String,
    name: String,
    uid: String,
    resource_version: Option<String>,
    generation: u64,
    creation_timestamp: CreatedAt,
    deletion_timestamp: Option<String>,
    annotations: WrittenAnnotations,
    /// Who owns `spec.replicas`.
    #[serde(deserialize_with = "owner_of_replicas")]
    managed_fields: Option<FieldOwner>,
}

/// The annotations that are read.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
struct WrittenAnnotations {
    #[serde(rename = "replicacount.dev/set-by")]
    by: Option<String>,
    #[serde(rename = "replicacount.dev/set-at")]
    at: Option<String>,
    #[serde(rename = "replicacount.dev/set-generation")]
    generation: Option<String>,
}

impl ReplicaCount {
    /// The namespace and the name.
    pub fn key(&self) -> ObjectKey {
        let Metadata { namespace, name, .. } = &self.metadata;
        ObjectKey { namespace: namespace.as_str().into(), name: name.as_str().into() }
    }

    /// The identity, which a re-created object does not share.
    pub fn uid(&self) -> &str {
        &self.metadata.uid
    }

    /// The version, if comparable; otherwise 0.
    pub fn version(&self) -> u64 {
        self.metadata.resource_version.as_ref().and_then(|version| version.parse().ok()).unwrap_or_default()
    }

    /// The generation, which grows with each change of the `spec`.
    pub fn generation(&self) -> u64 {
        self.metadata.generation
    }

    /// When it was created.
    pub fn created_at(&self) -> CreatedAt {
        self.metadata.creation_timestamp
    }

    /// Whether it is being deleted, which nobody can undo.
    pub fn is_being_deleted(&self) -> bool {
        self.metadata.deletion_timestamp.is_some()
    }

    /// Who set it through this API, and when. Absent if somebody has changed it in another way since.
    pub fn set(&self) -> (Option<String>, Option<Timestamp>) {
        let WrittenAnnotations { by, at, generation } = &self.metadata.annotations;
        let generation = generation.as_ref().and_then(|generation| generation.parse().ok());
        if generation != Some(self.generation()) {
            return (None, None);
        }
        (by.clone().filter(|by| !by.is_empty()), at.as_ref().and_then(|at| at.parse().ok()))
    }

    /// The field manager that owns the count, and when it wrote it, which whoever wrote it may have made up.
    pub fn claimed(&self) -> Option<&FieldOwner> {
        self.metadata.managed_fields.as_ref().filter(|owner| owner.manager() != FIELD_MANAGER)
    }

    /// The status, as far as it can be read.
    pub fn status(&self) -> ReplicaCountStatus {
        ReplicaCountStatus::deserialize(&self.status).unwrap_or_default()
    }

    /// Checks that it has a namespace, a name and a uid.
    pub fn check(self) -> Result<Self, MalformedObject> {
        let Metadata { namespace, name, uid, .. } = &self.metadata;
        if namespace.is_empty() || name.is_empty() || uid.is_empty() {
            let (namespace, name) = (namespace.clone(), name.clone());
            let reason = "has no namespace, no name or no uid".to_owned();
            return Err(MalformedObject { kind: "ReplicaCount", namespace, name, reason });
        }
        Ok(self)
    }
}

impl Object for ReplicaCount {
    /// The API server has no protobuf of custom resources.
    type Message = ();

    fn resource_version(&self) -> Option<&str> {
        self.metadata.resource_version.as_deref()
    }
}

/// Never needed; what it returns is refused as malformed.
impl From<()> for ReplicaCount {
    fn from((): ()) -> Self {
        Self { metadata: Metadata::default(), spec: Value::Null, status: Value::Null }
    }
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn parse(generation: u64, annotations: &Value, status: &Value) -> ReplicaCount {
        let metadata = json!({
            "namespace": "shop", "name": "web", "uid": "u", "resourceVersion": "9", "generation": generation,
            "annotations": annotations, "creationTimestamp": "2026-01-01T00:00:00Z",
        });
        serde_json::from_value(json!({ "metadata": metadata, "status": status })).expect("valid")
    }

    #[test]
    fn annotations_of_another_generation_say_nothing() {
        let annotations = json!({ SET_BY: "ann", SET_AT: "2026-01-02T00:00:00Z", SET_GENERATION: "3" });
        let at = "2026-01-02T00:00:00Z".parse().ok();
        assert_eq!(parse(3, &annotations, &Value::Null).set(), (Some("ann".to_owned()), at));
        assert_eq!(parse(4, &annotations, &Value::Null).set(), (None, None));
        assert_eq!(parse(3, &json!({ SET_BY: "ann" }), &Value::Null).set(), (None, None));
    }

    #[test]
    fn a_status_of_another_version_is_not_fatal() {
        let read = parse(1, &json!({}), &json!({ "state": 3 }));
        assert_eq!(read.status(), ReplicaCountStatus::default());
        let read = parse(1, &json!({}), &json!({ "state": "InSync", "more": 1 }));
        assert_eq!(read.status().state.as_deref(), Some("InSync"));
        assert!(read.check().is_ok() && ReplicaCount::from(()).check().is_err());
    }
}
