//! The words for what the API answers.

use jiff::Timestamp;
use replica_count_api::proto::{DeploymentState, GetDeploymentResponse, Kind};

use crate::target::kind_name;

/// A time of the API. `None`: it is not a time.
pub fn time(time: prost_types::Timestamp) -> Option<Timestamp> {
    Timestamp::new(time.seconds, time.nanos).ok()
}

/// The same in milliseconds since 1970.
pub fn millis(at: Option<&prost_types::Timestamp>) -> Option<i64> {
    at.copied().and_then(time).map(Timestamp::as_millisecond)
}

/// A count, or `-` if it is not known.
pub fn count(count: Option<i32>) -> String {
    count.map_or_else(|| "-".to_owned(), |count| count.to_string())
}

/// A text, or `-` if it is empty.
pub fn or_dash(text: &str) -> String {
    if text.is_empty() { "-".to_owned() } else { text.to_owned() }
}

/// A state, as in the status of ReplicaCounts.
pub fn state(state: DeploymentState) -> &'static str {
    match state {
        DeploymentState::Unknown => "Unknown",
        DeploymentState::Unmanaged => "Unmanaged",
        DeploymentState::InSync => "InSync",
        DeploymentState::Drifted => "Drifted",
        DeploymentState::Ignored => "Ignored",
        DeploymentState::Missing => "Missing",
        DeploymentState::OutOfScope => "OutOfScope",
        DeploymentState::Contested => "Contested",
        DeploymentState::Autoscaled => "Autoscaled",
        DeploymentState::Unsupported => "Unsupported",
    }
}

/// The kind of a workload, also one that the server does not know.
pub fn kind(workload: &GetDeploymentResponse) -> &str {
    if workload.other_kind.is_empty() { kind_name(workload.kind()) } else { &workload.other_kind }
}

/// Kind and name, as in the status of ReplicaCounts.
pub fn target(workload: &GetDeploymentResponse) -> String {
    format!("{}/{}", kind(workload), workload.name)
}

/// The name of a workload in a list: only Deployments go without their kind.
pub fn listed_name(workload: &GetDeploymentResponse) -> String {
    match (workload.other_kind.as_str(), workload.kind()) {
        ("", Kind::Deployment) => workload.name.clone(),
        ("", Kind::StatefulSet) => format!("statefulset/{}", workload.name),
        (other, _) => format!("{}/{}", other.to_ascii_lowercase(), workload.name),
    }
}

/// The name of the ReplicaCount of a workload, as the server chooses it.
pub fn object_name(workload: &GetDeploymentResponse) -> String {
    match (workload.other_kind.as_str(), workload.kind()) {
        ("", Kind::Deployment) => workload.name.clone(),
        _ => format!("{}.{}", workload.name, kind(workload).to_ascii_lowercase()),
    }
}

/// A time for people, to the second.
pub fn second(time: Timestamp) -> String {
    Timestamp::from_second(time.as_second()).map_or_else(|_| time.to_string(), |time| time.to_string())
}
