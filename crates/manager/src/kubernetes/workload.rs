//! Reads workloads: only the few fields that the server needs are kept while parsing.

use std::fmt;

use jiff::Timestamp;
use replica_count_core::kind::Kind;
use replica_count_core::managed_fields::{FieldOwner, ManagedFields, owner_among, owner_of_replicas};
use replica_count_core::observed::Observed;
use replica_count_core::replicas::Replicas;
use replica_count_core::target::Target;
use replica_count_wire::messages;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::malformed::MalformedObject;
use super::metadata::Metadata;
use super::watch::Object;

/// The value of an absent `spec.replicas`.
const DEFAULT_REPLICAS: i32 = 1;

/// A workload of any kind, with the few fields that this server needs.
///
/// Of `metadata.managedFields` it keeps only the owner of `spec.replicas`.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "JsonWorkload")]
pub struct Workload {
    metadata: Metadata,
    deleting: bool,
    owner: Option<FieldOwner>,
    spec: Spec,
    status: Status,
}

/// The fields that are parsed from JSON, where all kinds have the same structure.
#[derive(Deserialize)]
struct JsonWorkload {
    metadata: JsonMetadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonMetadata {
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    deletion_timestamp: Option<IgnoredAny>,
    #[serde(default, deserialize_with = "owner_of_replicas")]
    managed_fields: Option<FieldOwner>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Spec {
    replicas: Option<i32>,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    #[serde(default)]
    ready_replicas: i32,
}

impl Workload {
    /// Converts it to types of the domain. `kind` is the kind that was requested.
    pub fn into_observed(self, kind: Kind) -> Result<(Target, Observed), MalformedObject> {
        let Metadata { namespace, name, uid, resource_version } = self.metadata;
        let (namespace, name) = (namespace.unwrap_or_default(), name.unwrap_or_default());
        let malformed = |reason: &dyn fmt::Display| MalformedObject {
            kind: kind.as_str(),
            namespace: namespace.clone(),
            name: name.clone(),
            reason: reason.to_string(),
        };
        let target = Target::new(kind, &namespace, &name).map_err(|error| malformed(&error))?;
        let replicas = Replicas::new(self.spec.replicas.unwrap_or(DEFAULT_REPLICAS))
            .map_err(|error| malformed(&error))?;
        let observed = Observed {
            uid: uid.ok_or_else(|| malformed(&"has no uid"))?.into(),
            resource_version: resource_version.and_then(|version| version.parse().ok()),
            replicas,
            ready: self.status.ready_replicas,
            ready_before: self.status.ready_replicas,
            deleting: self.deleting,
            owner: self.owner,
        };
        Ok((target, observed))
    }

    /// Converts protobuf, where each kind has different field numbers.
    fn of_message(
        metadata: Option<messages::ObjectMeta>,
        replicas: Option<i32>,
        ready_replicas: i32,
    ) -> Self {
        let metadata = metadata.unwrap_or_default();
        Self {
            deleting: metadata.deletion_timestamp.is_some(),
            owner: owner_among(metadata.managed_fields.iter().map(managed_fields)),
            metadata: metadata.into(),
            spec: Spec { replicas },
            status: Status { ready_replicas },
        }
    }
}

impl From<JsonWorkload> for Workload {
    fn from(workload: JsonWorkload) -> Self {
        let JsonWorkload { metadata, spec, status } = workload;
        let JsonMetadata { namespace, name, uid, resource_version, .. } = metadata;
        Self {
            metadata: Metadata { namespace, name, uid, resource_version },
            deleting: metadata.deletion_timestamp.is_some(),
            owner: metadata.managed_fields,
            spec,
            status,
        }
    }
}

fn managed_fields(entry: &messages::ManagedFieldsEntry) -> ManagedFields<'_> {
    let seconds = entry.time.map(|time| time.seconds).filter(|&seconds| seconds != 0);
    ManagedFields {
        manager: &entry.manager,
        operation: &entry.operation,
        subresource: &entry.subresource,
        time: seconds.and_then(|seconds| Timestamp::from_second(seconds).ok()),
        fields: entry.fields.as_ref().map_or(&[], |fields| &fields.raw),
    }
}

/// A workload whose kind is known from its type, as a watch needs it.
pub trait OfKind: Object + Into<Workload> {
    /// The kind.
    const KIND: Kind;
}

/// An `apps/v1` Deployment.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct Deployment(Workload);

impl OfKind for Deployment {
    const KIND: Kind = Kind::Deployment;
}

impl Object for Deployment {
    type Message = messages::Deployment;

    fn resource_version(&self) -> Option<&str> {
        self.0.metadata.resource_version.as_deref()
    }
}

impl From<messages::Deployment> for Deployment {
    fn from(deployment: messages::Deployment) -> Self {
        let ready = deployment.status.unwrap_or_default().ready_replicas;
        let replicas = deployment.spec.and_then(|spec| spec.replicas);
        Self(Workload::of_message(deployment.metadata, replicas, ready))
    }
}

impl From<Deployment> for Workload {
    fn from(deployment: Deployment) -> Self {
        deployment.0
    }
}

/// An `apps/v1` StatefulSet.
#[derive(Clone, Debug, Deserialize)]
#[serde(transparent)]
pub struct StatefulSet(Workload);

impl OfKind for StatefulSet {
    const KIND: Kind = Kind::StatefulSet;
}

impl Object for StatefulSet {
    type Message = messages::StatefulSet;

    fn resource_version(&self) -> Option<&str> {
        self.0.metadata.resource_version.as_deref()
    }
}

impl From<messages::StatefulSet> for StatefulSet {
    fn from(set: messages::StatefulSet) -> Self {
        let ready = set.status.unwrap_or_default().ready_replicas;
        let replicas = set.spec.and_then(|spec| spec.replicas);
        Self(Workload::of_message(set.metadata, replicas, ready))
    }
}

impl From<StatefulSet> for Workload {
    fn from(set: StatefulSet) -> Self {
        set.0
    }
}

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;
    use std::sync::Arc;

    use replica_count_core::managed_fields::{Operation, Writer};

    use super::*;

    fn parse(json: &str) -> Result<(Target, Observed), String> {
        let workload: Workload = serde_json::from_str(json).map_err(|error| error.to_string())?;
        workload.into_observed(Kind::Deployment).map_err(|error| error.to_string())
    }

    #[test]
    fn keeps_the_needed_fields() {
        let (target, observed) = parse(
            r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"shop","uid":"u-1",
                "resourceVersion":"42","deletionTimestamp":"2026-01-02T03:04:05Z","labels":{"a":"b"},"managedFields":[
                {"manager":"kubectl","operation":"Apply","time":"2026-01-02T03:04:05Z","fieldsV1":{"f:spec":{"f:replicas":{}}}},
                {"manager":"other","operation":"Update","fieldsV1":{"f:metadata":{}}}]},
                "spec":{"replicas":0,"template":{"spec":{}}},"status":{"replicas":4,"readyReplicas":3}}"#,
        )
        .expect("valid");
        assert_eq!(target.to_string(), "shop/web");
        let writer = Writer { manager: "kubectl".into(), operation: Operation::Apply, subresource: None };
        let time = Some("2026-01-02T03:04:05Z".parse().expect("valid"));
        let owner = FieldOwner { writer: Arc::new(writer), time };
        let expected = Observed {
            uid: "u-1".into(),
            resource_version: NonZeroU64::new(42),
            replicas: Replicas::new(0).expect("valid"),
            ready: 3,
            ready_before: 3,
            deleting: true,
            owner: Some(owner),
        };
        assert_eq!(observed, expected);
    }

    #[test]
    fn absent_fields_have_defaults() {
        let (_, observed) =
            parse(r#"{"metadata":{"name":"web","namespace":"shop","uid":"u"}}"#).expect("valid");
        assert_eq!((observed.replicas.get(), observed.ready, observed.owner), (DEFAULT_REPLICAS, 0, None));
        assert_eq!(observed.resource_version, None);
    }

    #[test]
    fn refuses_invalid_workloads() {
        let cases = [
            (r#"{"metadata":{"name":"web","namespace":"shop"}}"#, "has no uid"),
            (r#"{"metadata":{"name":"WEB","namespace":"shop","uid":"u"}}"#, "is not valid"),
            (
                r#"{"metadata":{"name":"web","namespace":"shop","uid":"u"},"spec":{"replicas":-1}}"#,
                "is negative",
            ),
        ];
        for (json, expected) in cases {
            let error = parse(json).expect_err("malformed");
            assert!(error.contains(expected), "{error}");
        }
    }
}
