//! A Deployment as this server reads it: the few fields it needs, picked out while parsing.

use std::fmt;

use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use kube::Resource;
use replica_count_core::managed_fields::{FieldOwner, ManagedFields, owner_among, owner_of_replicas};
use replica_count_core::observed::Observed;
use replica_count_core::replicas::Replicas;
use replica_count_core::target::Target;
use replica_count_wire::messages;
use serde::Deserialize;
use serde::de::IgnoredAny;

use super::metadata;
use super::watch::{Followed, MalformedObject};
use crate::cluster::{Cluster, Watched};

/// What an API server means by an absent `spec.replicas`.
const DEFAULT_REPLICAS: i32 = 1;

/// A Deployment without all that this server has no use for.
///
/// Of `metadata.managedFields` it keeps only who owns `spec.replicas`.
#[derive(Clone, Debug, Deserialize, Resource)]
#[resource(inherit = Deployment)]
#[serde(from = "Received")]
pub struct SlimDeployment {
    metadata: ObjectMeta,
    deleting: bool,
    owner: Option<FieldOwner>,
    spec: Spec,
    status: Status,
}

/// What is picked out while parsing JSON.
#[derive(Deserialize)]
struct Received {
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
    #[serde(default)]
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Metadata {
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

impl SlimDeployment {
    /// The words of the domain for this Deployment.
    pub fn into_observed(self) -> Result<(Target, Observed), MalformedObject> {
        let ObjectMeta { namespace, name, uid, resource_version, .. } = self.metadata;
        let (namespace, name) = (namespace.unwrap_or_default(), name.unwrap_or_default());
        let malformed = |reason: &dyn fmt::Display| MalformedObject {
            kind: "Deployment",
            namespace: namespace.clone(),
            name: name.clone(),
            reason: reason.to_string(),
        };
        let target = Target::new(&namespace, &name).map_err(|error| malformed(&error))?;
        let replicas = Replicas::new(self.spec.replicas.unwrap_or(DEFAULT_REPLICAS))
            .map_err(|error| malformed(&error))?;
        let observed = Observed {
            uid: uid.ok_or_else(|| malformed(&"has no uid"))?.into(),
            resource_version: resource_version.and_then(|version| version.parse().ok()),
            replicas,
            ready: self.status.ready_replicas,
            deleting: self.deleting,
            owner: self.owner,
        };
        Ok((target, observed))
    }
}

impl Followed for SlimDeployment {
    const WATCHED: Watched = Watched::Deployments;
    type Message = messages::Deployment;

    fn begin_listing(cluster: &Cluster) {
        cluster.begin_listing();
    }

    fn end_listing(cluster: &Cluster) -> Vec<Target> {
        cluster.end_listing()
    }

    fn insert(self, cluster: &Cluster) -> Result<Vec<Target>, MalformedObject> {
        let (target, observed) = self.into_observed()?;
        cluster.insert(target.clone(), observed);
        Ok(vec![target])
    }

    fn remove(self, cluster: &Cluster) -> Result<Vec<Target>, MalformedObject> {
        let (target, observed) = self.into_observed()?;
        cluster.remove(&target, &observed.uid);
        Ok(vec![target])
    }
}

impl From<Received> for SlimDeployment {
    fn from(received: Received) -> Self {
        let Received { metadata, spec, status } = received;
        let (deleting, owner) = (metadata.deletion_timestamp.is_some(), metadata.managed_fields);
        let metadata = ObjectMeta {
            namespace: metadata.namespace,
            name: metadata.name,
            uid: metadata.uid,
            resource_version: metadata.resource_version,
            ..ObjectMeta::default()
        };
        Self { metadata, deleting, owner, spec, status }
    }
}

impl From<messages::Deployment> for SlimDeployment {
    fn from(deployment: messages::Deployment) -> Self {
        let metadata = deployment.metadata.unwrap_or_default();
        let status = deployment.status.unwrap_or_default();
        Self {
            deleting: metadata.deletion_timestamp.is_some(),
            owner: owner_among(metadata.managed_fields.iter().map(managed_fields)),
            metadata: metadata::known_by(metadata),
            spec: Spec { replicas: deployment.spec.and_then(|spec| spec.replicas) },
            status: Status { ready_replicas: status.ready_replicas },
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

#[cfg(test)]
mod tests {
    use std::num::NonZeroU64;

    use replica_count_core::managed_fields::Operation;

    use super::*;

    fn parse(json: &str) -> Result<(Target, Observed), String> {
        let deployment: SlimDeployment = serde_json::from_str(json).map_err(|error| error.to_string())?;
        deployment.into_observed().map_err(|error| error.to_string())
    }

    #[test]
    fn keeps_what_is_needed() {
        let (target, observed) = parse(
            r#"{"apiVersion":"apps/v1","kind":"Deployment","metadata":{"name":"web","namespace":"shop","uid":"u-1",
                "resourceVersion":"42","deletionTimestamp":"2026-01-02T03:04:05Z","labels":{"a":"b"},"managedFields":[
                {"manager":"kubectl","operation":"Apply","time":"2026-01-02T03:04:05Z","fieldsV1":{"f:spec":{"f:replicas":{}}}},
                {"manager":"other","operation":"Update","fieldsV1":{"f:metadata":{}}}]},
                "spec":{"replicas":0,"template":{"spec":{}}},"status":{"replicas":4,"readyReplicas":3}}"#,
        )
        .expect("valid");
        assert_eq!(target.to_string(), "shop/web");
        let owner = FieldOwner {
            manager: "kubectl".into(),
            operation: Operation::Apply,
            subresource: None,
            time: Some("2026-01-02T03:04:05Z".parse().expect("valid")),
        };
        let expected = Observed {
            uid: "u-1".into(),
            resource_version: NonZeroU64::new(42),
            replicas: Replicas::new(0).expect("valid"),
            ready: 3,
            deleting: true,
            owner: Some(owner),
        };
        assert_eq!(observed, expected);
    }

    #[test]
    fn lives_with_what_is_absent() {
        let (_, observed) =
            parse(r#"{"metadata":{"name":"web","namespace":"shop","uid":"u"}}"#).expect("valid");
        assert_eq!((observed.replicas.get(), observed.ready, observed.owner), (DEFAULT_REPLICAS, 0, None));
        assert_eq!(observed.resource_version, None);
    }

    #[test]
    fn refuses_what_makes_no_sense() {
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
