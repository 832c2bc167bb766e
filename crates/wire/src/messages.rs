//! Kubernetes objects with the fields that are read. All other fields are skipped.
//!
//! API servers encode absent strings as empty ones. Strings that they do not validate are bytes here: a client that
//! writes protobuf can put invalid UTF-8 there, and as a `string` that would make the whole message undecodable. In
//! JSON, API servers replace such bytes.

use std::collections::BTreeMap;

use bytes::Bytes;
use prost::Message;

/// `apps/v1` Deployment.
#[derive(Clone, PartialEq, Message)]
pub struct Deployment {
    /// `metadata`.
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<ObjectMeta>,
    /// `spec`.
    #[prost(message, optional, tag = "2")]
    pub spec: Option<DeploymentSpec>,
    /// `status`.
    #[prost(message, optional, tag = "3")]
    pub status: Option<DeploymentStatus>,
}

/// The `spec` of a Deployment.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct DeploymentSpec {
    /// `replicas`.
    #[prost(int32, optional, tag = "1")]
    pub replicas: Option<i32>,
}

/// The `status` of a Deployment.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct DeploymentStatus {
    /// `readyReplicas`.
    #[prost(int32, tag = "7")]
    pub ready_replicas: i32,
}

/// `apps/v1` StatefulSet.
#[derive(Clone, PartialEq, Message)]
pub struct StatefulSet {
    /// `metadata`.
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<ObjectMeta>,
    /// `spec`.
    #[prost(message, optional, tag = "2")]
    pub spec: Option<StatefulSetSpec>,
    /// `status`.
    #[prost(message, optional, tag = "3")]
    pub status: Option<StatefulSetStatus>,
}

/// The `spec` of a StatefulSet.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct StatefulSetSpec {
    /// `replicas`.
    #[prost(int32, optional, tag = "1")]
    pub replicas: Option<i32>,
}

/// The `status` of a StatefulSet.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct StatefulSetStatus {
    /// `readyReplicas`.
    #[prost(int32, tag = "3")]
    pub ready_replicas: i32,
}

/// `autoscaling/v2` HorizontalPodAutoscaler.
#[derive(Clone, PartialEq, Message)]
pub struct HorizontalPodAutoscaler {
    /// `metadata`.
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<ObjectMeta>,
    /// `spec`.
    #[prost(message, optional, tag = "2")]
    pub spec: Option<HorizontalPodAutoscalerSpec>,
}

/// The `spec` of a HorizontalPodAutoscaler.
#[derive(Clone, PartialEq, Message)]
pub struct HorizontalPodAutoscalerSpec {
    /// `scaleTargetRef`.
    #[prost(message, optional, tag = "1")]
    pub scale_target_ref: Option<CrossVersionObjectReference>,
}

/// A reference to a scaled object.
#[derive(Clone, PartialEq, Message)]
pub struct CrossVersionObjectReference {
    /// `kind`.
    #[prost(bytes = "bytes", tag = "1")]
    pub kind: Bytes,
    /// `name`.
    #[prost(bytes = "bytes", tag = "2")]
    pub name: Bytes,
    /// `apiVersion`.
    #[prost(bytes = "bytes", tag = "3")]
    pub api_version: Bytes,
}

/// `coordination.k8s.io/v1` Lease.
#[derive(Clone, PartialEq, Message)]
pub struct Lease {
    /// `metadata`.
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<ObjectMeta>,
    /// `spec`.
    #[prost(message, optional, tag = "2")]
    pub spec: Option<LeaseSpec>,
}

/// The `spec` of a Lease.
#[derive(Clone, PartialEq, Message)]
pub struct LeaseSpec {
    /// `holderIdentity`.
    #[prost(bytes = "bytes", tag = "1")]
    pub holder_identity: Bytes,
    /// `leaseDurationSeconds`.
    #[prost(int32, optional, tag = "2")]
    pub lease_duration_seconds: Option<i32>,
    /// `renewTime`, without what is smaller than a second.
    #[prost(message, optional, tag = "4")]
    pub renew_time: Option<Time>,
    /// `leaseTransitions`.
    #[prost(int32, optional, tag = "5")]
    pub lease_transitions: Option<i32>,
}

/// The `metadata` of an object.
#[derive(Clone, PartialEq, Message)]
pub struct ObjectMeta {
    /// `name`.
    #[prost(string, tag = "1")]
    pub name: String,
    /// `namespace`.
    #[prost(string, tag = "3")]
    pub namespace: String,
    /// `uid`.
    #[prost(string, tag = "5")]
    pub uid: String,
    /// `resourceVersion`.
    #[prost(string, tag = "6")]
    pub resource_version: String,
    /// `deletionTimestamp`.
    #[prost(message, optional, tag = "9")]
    pub deletion_timestamp: Option<Time>,
    /// `ownerReferences`.
    #[prost(message, repeated, tag = "13")]
    pub owner_references: Vec<OwnerReference>,
    /// `managedFields`.
    #[prost(message, repeated, tag = "17")]
    pub managed_fields: Vec<ManagedFieldsEntry>,
}

/// A time in whole seconds, as Kubernetes keeps it.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct Time {
    /// Seconds since 1970. 0 also stands for no time.
    #[prost(int64, tag = "1")]
    pub seconds: i64,
}

/// An owner of an object.
#[derive(Clone, PartialEq, Message)]
pub struct OwnerReference {
    /// `kind`.
    #[prost(bytes = "bytes", tag = "1")]
    pub kind: Bytes,
    /// `name`.
    #[prost(bytes = "bytes", tag = "3")]
    pub name: Bytes,
    /// `controller`.
    #[prost(bool, tag = "6")]
    pub controller: bool,
}

/// The fields that one field manager owns.
#[derive(Clone, PartialEq, Message)]
pub struct ManagedFieldsEntry {
    /// `manager`.
    #[prost(bytes = "bytes", tag = "1")]
    pub manager: Bytes,
    /// `operation`.
    #[prost(bytes = "bytes", tag = "2")]
    pub operation: Bytes,
    /// `time`.
    #[prost(message, optional, tag = "4")]
    pub time: Option<Time>,
    /// `fieldsV1`.
    #[prost(message, optional, tag = "7")]
    pub fields: Option<FieldsV1>,
    /// `subresource`.
    #[prost(bytes = "bytes", tag = "8")]
    pub subresource: Bytes,
}

/// A set of fields.
#[derive(Clone, PartialEq, Message)]
pub struct FieldsV1 {
    /// The JSON text of `fieldsV1`; shares the memory of the decoded bytes.
    #[prost(bytes = "bytes", tag = "1")]
    pub raw: Bytes,
}

/// `autoscaling/v1` Scale.
#[derive(Clone, PartialEq, Message)]
pub struct Scale {
    /// `metadata`.
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<ObjectMeta>,
    /// `spec`.
    #[prost(message, optional, tag = "2")]
    pub spec: Option<ScaleSpec>,
}

/// The `spec` of a Scale.
#[derive(Clone, Copy, PartialEq, Message)]
pub struct ScaleSpec {
    /// `replicas`. Absent for 0.
    #[prost(int32, tag = "1")]
    pub replicas: i32,
}

/// A listing of any kind.
#[derive(Clone, PartialEq, Message)]
pub struct List {
    /// `metadata`.
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<ListMeta>,
    /// `items`, each still encoded, so that one at a time is decoded.
    #[prost(bytes = "bytes", repeated, tag = "2")]
    pub items: Vec<Bytes>,
}

/// The `metadata` of a listing.
#[derive(Clone, PartialEq, Message)]
pub struct ListMeta {
    /// `resourceVersion`.
    #[prost(string, tag = "2")]
    pub resource_version: String,
    /// `continue`.
    #[prost(string, tag = "3")]
    pub r#continue: String,
}

/// An object of any kind, as in a bookmark.
#[derive(Clone, PartialEq, Message)]
pub struct AnyObject {
    /// `metadata`.
    #[prost(message, optional, tag = "1")]
    pub metadata: Option<AnyMeta>,
}

/// The `metadata` of an object, with its annotations.
#[derive(Clone, PartialEq, Message)]
pub struct AnyMeta {
    /// `name`.
    #[prost(string, tag = "1")]
    pub name: String,
    /// `namespace`.
    #[prost(string, tag = "3")]
    pub namespace: String,
    /// `resourceVersion`.
    #[prost(string, tag = "6")]
    pub resource_version: String,
    /// `annotations`.
    #[prost(btree_map = "string, string", tag = "12")]
    pub annotations: BTreeMap<String, String>,
}

/// `v1` Status: why a request failed.
#[derive(Clone, PartialEq, Message)]
pub struct Status {
    /// `message`.
    #[prost(bytes = "bytes", tag = "3")]
    pub message: Bytes,
    /// `reason`.
    #[prost(string, tag = "4")]
    pub reason: String,
    /// `code`.
    #[prost(int32, tag = "6")]
    pub code: i32,
}
