//! Listings and watches work in protobuf, and in JSON if the API server has nothing else.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use http::{Request, header};
use replica_count_api::proto::DeploymentState;
use replica_count_testbed::control_plane::Scope;
use replica_count_testbed::fault_proxy::{Encodings, Entry, Fault, Kind, Note, Plan};
use replica_count_testbed::{FaultProxy, manager};
use replica_count_wire::{Envelope, messages};

use crate::fixture::{Fixture, SOMEBODY, shared, testbed};
use crate::kinds::StatefulSets;

/// The kinds and content types of all successful answers about workloads and autoscalers. Custom resources have no protobuf.
fn content_types(entries: &[Entry]) -> Vec<(Kind, String)> {
    let mut kinds = HashMap::new();
    let mut found = Vec::new();
    for Entry { ordinal, note } in entries {
        match note {
            Note::Request { kind, uri, .. } if !uri.contains("/apis/replicacount.dev/") => {
                kinds.insert(*ordinal, *kind);
            }
            Note::Served { status: 200, content_type } => {
                let answer = kinds.get(ordinal).map(|kind| (*kind, content_type.clone().unwrap_or_default()));
                found.extend(answer);
            }
            Note::Request { .. }
            | Note::Injected
            | Note::Served { .. }
            | Note::Answered { .. }
            | Note::Shown { .. }
            | Note::Hidden { .. } => {}
        }
    }
    found
}

/// Expects a server with these encodings to repair drifts of all kinds and to see an autoscaler.
async fn check(encodings: Encodings, plan: Plan, expected: &[(Kind, &str)]) {
    let control_plane = shared().await;
    let entries = Arc::new(Mutex::new(Vec::new()));
    let recorded = Arc::clone(&entries);
    let observer = Box::new(move |entry| recorded.lock().unwrap().push(entry));
    let proxy = FaultProxy::start(control_plane, encodings, plan, observer).await.unwrap();
    let kubeconfig = proxy.manager_kubeconfig(control_plane, &Scope::Cluster).await.unwrap();
    let folder = control_plane.folder("manager").unwrap();
    let options = manager::Options::new(testbed(), &kubeconfig, Path::new(&folder)).unwrap();
    let mut fixture = Fixture::with_options(control_plane, options).await;

    fixture.create_managed("web", 2).await;
    fixture.scale("web", 5).await;
    fixture.wait_for_count("web", 2).await;
    let answer = fixture.wait_for("web", |answer| answer.drift_count == 1).await;
    assert_eq!(answer.last_drift.unwrap().by, SOMEBODY);
    fixture.autoscale("autoscaler", "web", 1).await;
    fixture.wait_for_state("web", DeploymentState::Autoscaled).await;

    let mut sets = StatefulSets::of(fixture).await;
    sets.create_managed("db", 3).await;
    sets.scale("db", 7).await;
    sets.check_repaired((SOMEBODY, "Update", "scale"), 7).await;

    let mut found = content_types(&entries.lock().unwrap());
    found.retain(|(kind, _)| matches!(kind, Kind::List | Kind::ListAsStream | Kind::Watch));
    for (kind, content_type) in &found {
        assert!(expected.contains(&(*kind, content_type)), "{kind:?} was answered in {content_type}");
    }
    for (kind, content_type) in expected {
        assert!(found.iter().any(|(found, _)| found == kind), "no {kind:?} was answered in {content_type}");
    }
    for (name, drifted) in [("web", 5), ("db", 7)] {
        let prefix = format!("MODIFIED {}/{name} version ", sets.fixture.namespace);
        let suffix = format!(" replicas {drifted}");
        let shown = entries.lock().unwrap().iter().any(|entry| match &entry.note {
            Note::Shown { event } => event.starts_with(&prefix) && event.ends_with(&suffix),
            _ => false,
        });
        assert!(shown, "the proxy does not decode what it forwards");
    }
}

/// An autoscaler with the required fields only.
#[derive(Clone, PartialEq, prost::Message)]
struct Autoscaler {
    #[prost(message, optional, tag = "1")]
    metadata: Option<messages::ObjectMeta>,
    #[prost(message, optional, tag = "2")]
    spec: Option<Spec>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Spec {
    #[prost(message, optional, tag = "1")]
    scale_target_ref: Option<messages::CrossVersionObjectReference>,
    #[prost(int32, tag = "3")]
    max_replicas: i32,
}

/// Kubernetes does not check that strings in protobuf are UTF-8.
#[tokio::test]
async fn invalid_utf8_does_not_break_the_watch() {
    let mut fixture = Fixture::new().await;
    let reference = messages::CrossVersionObjectReference {
        api_version: "apps/v1".into(),
        kind: b"\xff"[..].into(),
        name: "web".into(),
    };
    let invalid = Autoscaler {
        metadata: Some(messages::ObjectMeta { name: "invalid".to_owned(), ..Default::default() }),
        spec: Some(Spec { scale_target_ref: Some(reference), max_replicas: 3 }),
    };
    let path = format!("/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers", fixture.namespace);
    let create = Request::post(path)
        .header(header::CONTENT_TYPE, "application/vnd.kubernetes.protobuf")
        .body(Envelope::new("autoscaling/v2", "HorizontalPodAutoscaler", &invalid).seal().to_vec());
    let admin = fixture.control_plane.admin().await.unwrap();
    admin.request_text(create.unwrap()).await.unwrap();

    fixture.create_managed("web", 2).await;
    fixture.autoscale("autoscaler", "web", 1).await;
    fixture.wait_for_state("web", DeploymentState::Autoscaled).await;
    let fixture = fixture.restart(async |_| ()).await;
    fixture.wait_for_state("web", DeploymentState::Autoscaled).await;
}

/// Refuses streamed listings.
fn in_pages() -> Plan {
    let refused = Fault::Refuse { status: 422, retry_after_seconds: None };
    Box::new(move |_, kind, _| (kind == Kind::ListAsStream).then_some(refused))
}

#[tokio::test]
async fn protobuf() {
    const STREAM: &str = "application/vnd.kubernetes.protobuf;stream=watch";
    let expected = [(Kind::ListAsStream, STREAM), (Kind::Watch, STREAM)];
    check(Encodings::AsAsked, Box::new(|_, _, _| None), &expected).await;
    let expected = [(Kind::List, "application/vnd.kubernetes.protobuf"), (Kind::Watch, STREAM)];
    check(Encodings::AsAsked, in_pages(), &expected).await;
}

#[tokio::test]
async fn json_only() {
    const JSON: &str = "application/json";
    let expected = [(Kind::ListAsStream, JSON), (Kind::Watch, JSON)];
    check(Encodings::JsonOnly, Box::new(|_, _, _| None), &expected).await;
    check(Encodings::JsonOnly, in_pages(), &[(Kind::List, JSON), (Kind::Watch, JSON)]).await;
}
