//! The fields of a ReplicaCount, from which the CustomResourceDefinition is generated.
//!
//! The comments of the fields are what `kubectl explain` shows.

#![allow(unreachable_pub, reason = "the derive macro makes a private copy of a public struct")]

use std::collections::BTreeMap;

use jiff::Timestamp;
use kube::{CustomResource, KubeSchema};
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use serde_json::Value;

/// The replica count that a workload must have. Replica Count Manager puts the workload back to it whenever something
/// else changes the count. Deleting the object leaves the workload as it is, and no longer managed.
#[derive(Clone, CustomResource, Debug, Default, Deserialize, KubeSchema, PartialEq, Serialize)]
#[kube(
    group = "replicacount.dev",
    version = "v1alpha1",
    kind = "ReplicaCount",
    root = "ReplicaCountObject",
    namespaced,
    status = "ReplicaCountStatus",
    shortname = "rcount",
    doc = "The replica count that a workload must have. Deleting it leaves the workload as it is, and no longer managed.",
    selectable = ".spec.target.name",
    validation = Rule::new("(has(self.spec.target) && has(self.spec.target.kind) ? self.spec.target.kind : 'Deployment') == \
        (has(oldSelf.spec.target) && has(oldSelf.spec.target.kind) ? oldSelf.spec.target.kind : 'Deployment') && \
        (has(self.spec.target) && has(self.spec.target.name) ? self.spec.target.name : self.metadata.name) == \
        (has(oldSelf.spec.target) && has(oldSelf.spec.target.name) ? oldSelf.spec.target.name : self.metadata.name)")
        .message("spec.target cannot change: delete this object and create one for the other workload"),
    printcolumn(name = "Target", type_ = "string", json_path = ".status.target", description = "Kind and name of the workload"),
    printcolumn(name = "Desired", type_ = "integer", json_path = ".status.desired", description = "The count that the workload must have now"),
    printcolumn(name = "Current", type_ = "integer", json_path = ".status.current", description = "The count that it has"),
    printcolumn(name = "State", type_ = "string", json_path = ".status.state", description = "What is known of the workload"),
    printcolumn(name = "By", type_ = "string", json_path = ".status.setBy", description = "Who set the count"),
    printcolumn(name = "Age", type_ = "date", json_path = ".metadata.creationTimestamp"),
    printcolumn(name = "Until", type_ = "string", json_path = ".spec.temporary.until", priority = 1, description = "When a temporary count ends"),
    printcolumn(name = "Enforced", type_ = "string", json_path = ".status.conditions[?(@.type==\"Enforced\")].status", priority = 1, description = "Whether drift is repaired"),
    printcolumn(name = "Drifted-By", type_ = "string", json_path = ".status.lastDrift.by", priority = 1, description = "Who changed the count last"),
    printcolumn(name = "Reason", type_ = "string", json_path = ".spec.reason", priority = 1, description = "Why the count was set")
)]
#[serde(rename_all = "camelCase")]
#[x_kube(validation = Rule::new("!has(self.enforcementUntil) || (has(self.enforcement) && self.enforcement == 'Ignore')")
    .message("enforcementUntil is the end of Ignore: set enforcement to Ignore, or remove enforcementUntil"),
    validation = Rule::new("has(self.replicas) || has(self.temporary)")
    .message("set replicas, or temporary for a count that ends by itself"))]
pub struct ReplicaCountSpec {
    /// The workload. Absent: the Deployment that has the name of this object. It cannot change.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<TargetRef>,
    /// The count that the workload must have. Absent, beside temporary: the workload is only managed until that ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub replicas: Option<i32>,
    /// Another count that holds until a time, after which replicas holds again. Nothing is rewritten then.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub temporary: Option<Temporary>,
    /// Whether drift is repaired (Enforce, the default), or only shown (Ignore).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Enforce", "Ignore"]))]
    pub enforcement: Option<String>,
    /// When Ignore ends, and drift is repaired again. Absent: when somebody changes enforcement.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    pub enforcement_until: Option<Timestamp>,
    /// Why this count was set.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(max = 1024))]
    pub reason: Option<String>,
    /// What another version of the definition has and this one does not know.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: BTreeMap<String, Value>,
}

/// A DNS subdomain (RFC 1123), as the name of a workload must be.
const SUBDOMAIN: &str = r"^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$";

/// A workload of the namespace.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct TargetRef {
    /// Deployment or StatefulSet. Absent: Deployment.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(extend("enum" = ["Deployment", "StatefulSet"]))]
    pub kind: Option<String>,
    /// The name of the workload. Absent: the name of this object.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(length(min = 1, max = 253), extend("pattern" = SUBDOMAIN))]
    pub name: Option<String>,
    /// What another version of the definition has and this one does not know.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: BTreeMap<String, Value>,
}

/// A count that holds until a time.
#[derive(Clone, Debug, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Temporary {
    /// The count until then.
    #[schemars(range(min = 0, max = 2_147_483_647))]
    pub replicas: i32,
    /// When it ends.
    #[schemars(with = "String", extend("format" = "date-time"))]
    pub until: Timestamp,
    /// What another version of the definition has and this one does not know.
    #[serde(flatten)]
    #[schemars(skip)]
    pub unknown: BTreeMap<String, Value>,
}

/// Whether drift is repaired.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EnforcementMode {
    /// Drift is repaired.
    Enforce,
    /// Drift is shown and counted, never repaired.
    Ignore,
}

impl EnforcementMode {
    /// Its name in objects.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Enforce => "Enforce",
            Self::Ignore => "Ignore",
        }
    }

    /// The mode with this name.
    pub fn from_name(name: &str) -> Option<Self> {
        [Self::Enforce, Self::Ignore].into_iter().find(|mode| mode.as_str() == name)
    }
}

/// What is known of the workload. Written by the server at most every 5 seconds.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct ReplicaCountStatus {
    /// The generation of this object that the status is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// Kind and name of the workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub target: Option<String>,
    /// In one word, what is known of the workload: InSync, Drifted, Contested, Autoscaled, Ignored, Missing and others.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub state: Option<String>,
    /// The count that the workload must have now: that of spec.temporary until it ends.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub desired: Option<i32>,
    /// The count that the workload has.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub current: Option<i32>,
    /// Who set the count. A name that whoever set it chose, and nobody has proven, is followed by (claimed).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub set_by: Option<String>,
    /// Who keeps changing the count of the workload.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub conflict: Option<String>,
    /// Kind and name of the autoscaler that targets the workload, too.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub autoscaler: Option<String>,
    /// The last change of the count by somebody else.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_drift: Option<LastDrift>,
    /// InEffect: whether the workload has the count of this object. Enforced: whether drift is repaired.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "map", "x-kubernetes-list-map-keys" = ["type"]))]
    pub conditions: Vec<Condition>,
    /// What happened last to the workload, oldest first, for all servers. Each line is an event as JSON.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    #[schemars(extend("x-kubernetes-list-type" = "atomic", "maxItems" = 64))]
    pub history: Vec<String>,
}

/// A change of the count by somebody else.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct LastDrift {
    /// The field manager, a name that the client chose. Absent: not known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub by: Option<String>,
    /// How it wrote: Update or Apply.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub operation: Option<String>,
    /// The subresource that it wrote, for example scale.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub subresource: Option<String>,
    /// The count that was desired.
    pub from: i32,
    /// The count that was found instead.
    pub to: i32,
    /// When.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub at: Option<Timestamp>,
}

/// A condition.
#[derive(Clone, Debug, Default, Deserialize, JsonSchema, PartialEq, Serialize)]
#[serde(rename_all = "camelCase")]
pub struct Condition {
    /// InEffect or Enforced.
    #[schemars(length(max = 316))]
    pub r#type: String,
    /// True, False or Unknown.
    #[schemars(extend("enum" = ["True", "False", "Unknown"]))]
    pub status: String,
    /// The reason in one word.
    #[schemars(length(max = 1024))]
    pub reason: String,
    /// The reason in a sentence.
    #[schemars(length(max = 32768))]
    pub message: String,
    /// The generation that it is about.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub observed_generation: Option<i64>,
    /// When the status of the condition changed.
    #[schemars(with = "Option<String>", extend("format" = "date-time"))]
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub last_transition_time: Option<Timestamp>,
}
