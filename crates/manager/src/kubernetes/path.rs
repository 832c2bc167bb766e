//! The paths of resources in the API.

use replica_count_core::kind::Kind;
use replica_count_core::target::Target;

/// The path of all workloads of a kind, or of those in one namespace.
pub fn workloads(kind: Kind, namespace: Option<&str>) -> String {
    collection(&format!("{}/v1", kind.group()), kind.resource(), namespace)
}

/// The path of one workload.
pub(super) fn workload(target: &Target) -> String {
    format!("{}/{}", workloads(target.kind(), Some(target.namespace())), target.name())
}

/// The path of all HorizontalPodAutoscalers, or of those in one namespace.
pub fn autoscalers(namespace: Option<&str>) -> String {
    collection("autoscaling/v2", "horizontalpodautoscalers", namespace)
}

/// The path of all guards, or of those in one namespace.
pub fn guards(namespace: Option<&str>) -> String {
    collection("replicacount.dev/v1alpha1", "replicaguards", namespace)
}

/// The path of all ReplicaCounts, or of those in one namespace.
pub fn replica_counts(namespace: Option<&str>) -> String {
    collection("replicacount.dev/v1alpha1", "replicacounts", namespace)
}

/// The path of all Leases in a namespace.
pub fn leases(namespace: &str) -> String {
    collection("coordination.k8s.io/v1", "leases", Some(namespace))
}

/// The path of all Events in a namespace.
pub(super) fn events(namespace: &str) -> String {
    collection("events.k8s.io/v1", "events", Some(namespace))
}

fn collection(api_version: &str, resource: &str, namespace: Option<&str>) -> String {
    match namespace {
        Some(namespace) => format!("/apis/{api_version}/namespaces/{namespace}/{resource}"),
        None => format!("/apis/{api_version}/{resource}"),
    }
}
