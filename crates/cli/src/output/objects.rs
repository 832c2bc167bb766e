//! Workloads as objects, in the shape of a ReplicaCount: what `-o json` and `-o yaml` print, and what paths refer to.

use prost_types::Timestamp;
use replica_count_api::proto::{EnforcementMode, GetDeploymentResponse, Kind};
use serde_json::{Map, Value, json};

use super::words;

/// An object that has the keys for which there is a value.
pub(super) fn present<const N: usize>(entries: [(&str, Option<Value>); N]) -> Value {
    let entries = entries.into_iter().filter_map(|(key, value)| Some((key.to_owned(), value?)));
    Value::Object(entries.collect::<Map<_, _>>())
}

pub(super) fn text(text: &str) -> Option<Value> {
    (!text.is_empty()).then(|| text.into())
}

pub(super) fn time(time: Option<Timestamp>) -> Option<Value> {
    Some(words::time(time?)?.to_string().into())
}

/// A workload as a ReplicaCount. `spec` is there if it is managed.
pub fn object(workload: &GetDeploymentResponse) -> Value {
    let spec = workload.desired_replicas.map(|desired| {
        let ignored = workload.enforcement() == EnforcementMode::Ignore;
        let until = time(workload.hold_until);
        let replicas = if until.is_some() { workload.replicas_afterwards } else { Some(desired) };
        present([
            ("target", target(workload)),
            ("replicas", replicas.map(Value::from)),
            ("temporary", until.map(|until| json!({ "replicas": desired, "until": until }))),
            ("enforcement", ignored.then(|| "Ignore".into())),
            ("enforcementUntil", time(workload.enforcement_until)),
            ("reason", text(&workload.reason)),
        ])
    });
    let generation = (workload.generation > 0).then(|| workload.generation.into());
    present([
        ("apiVersion", Some("replicacount.dev/v1alpha1".into())),
        ("kind", Some("ReplicaCount".into())),
        (
            "metadata",
            Some(present([
                ("name", Some(words::object_name(workload).into())),
                ("namespace", Some(workload.namespace.as_str().into())),
                ("generation", generation),
            ])),
        ),
        ("spec", spec),
        ("status", Some(status(workload))),
    ])
}

/// Absent for the Deployment that the object is named after.
fn target(workload: &GetDeploymentResponse) -> Option<Value> {
    match (workload.other_kind.as_str(), workload.kind()) {
        ("", Kind::Deployment) => None,
        ("", Kind::StatefulSet) => Some(json!({ "kind": "StatefulSet", "name": workload.name })),
        (other, _) => Some(json!({ "kind": other, "name": workload.name })),
    }
}

fn status(workload: &GetDeploymentResponse) -> Value {
    let drift = workload.last_drift.as_ref().map(|drift| {
        present([
            ("by", text(&drift.by)),
            ("likelyBy", text(&drift.likely_by)),
            ("operation", text(&drift.operation)),
            ("subresource", text(&drift.subresource)),
            ("at", time(drift.at)),
            ("from", drift.from.map(Value::from)),
            ("to", drift.to.map(Value::from)),
            ("podsLost", drift.pods_lost.map(Value::from)),
        ])
    });
    let failure = workload.last_failure.as_ref().map(|failure| {
        present([
            ("reason", text(&failure.reason)),
            ("code", failure.code.map(Value::from)),
            ("message", text(&failure.message)),
            ("since", time(failure.since)),
            ("nextTry", time(failure.next_try)),
            ("attempts", Some(failure.attempts.into())),
        ])
    });
    let contest = workload
        .contest
        .as_ref()
        .map(|contest| present([("by", text(&contest.by)), ("until", time(contest.until))]));
    present([
        ("target", Some(words::target(workload).into())),
        ("state", Some(words::state(workload.state()).into())),
        ("stateReason", text(&workload.state_reason)),
        ("desired", workload.desired_replicas.map(Value::from)),
        ("current", workload.current_replicas.map(Value::from)),
        ("ready", workload.ready_replicas.map(Value::from)),
        ("setBy", text(&workload.set_by)),
        ("setAt", time(workload.set_at)),
        ("lastDrift", drift),
        ("drifts", (workload.drift_count > 0).then(|| workload.drift_count.into())),
        ("contest", contest),
        ("autoscaler", text(&workload.autoscaler)),
        ("lastFailure", failure),
        ("guarded", workload.guarded.then_some(true.into())),
    ])
}
