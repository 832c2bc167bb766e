//! In which encodings the API server answers listings and watches: protobuf, and JSON where there is no other.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use http::{Request, header};
use replica_count_api::proto::DeploymentState;
use replica_count_testbed::control_plane::Scope;
use replica_count_testbed::fault_proxy::{Encodings, Entry, Fault, Kind, Note, Plan};
use replica_count_testbed::{FaultProxy, manager};
use replica_count_wire::{Envelope, messages};

use crate::scene::{SOMEBODY, Scene, shared, testbed};

/// The content types by the kind of request, of those that succeeded.
fn content_types(entries: &[Entry]) -> Vec<(Kind, String)> {
    let mut kinds = HashMap::new();
    let mut found = Vec::new();
    for Entry { ordinal, note } in entries {
        match note {
            Note::Request { kind, .. } => {
                kinds.insert(*ordinal, *kind);
            }
            Note::Served { status: 200, content_type } => {
                found.push((kinds[ordinal], content_type.clone().unwrap_or_default()));
            }
            Note::Met
            | Note::Served { .. }
            | Note::Answered { .. }
            | Note::Shown { .. }
            | Note::Hidden { .. } => {}
        }
    }
    found
}

/// Has a drift repaired, and an autoscaler seen, by a server that is answered like this.
async fn check(encodings: Encodings, plan: Plan, expected: &[(Kind, &str)]) {
    let control_plane = shared().await;
    let entries = Arc::new(Mutex::new(Vec::new()));
    let told = Arc::clone(&entries);
    let observer = Box::new(move |entry| told.lock().unwrap().push(entry));
    let proxy = FaultProxy::start(control_plane, encodings, plan, observer).await.unwrap();
    let kubeconfig = proxy.manager_kubeconfig(control_plane, &Scope::Cluster).await.unwrap();
    let folder = control_plane.folder("manager").unwrap();
    let options = manager::Options::new(testbed(), &kubeconfig, Path::new(&folder)).unwrap();
    let mut scene = Scene::with_options(control_plane, options).await;

    scene.create_managed("web", 2).await;
    scene.scale("web", 5).await;
    scene.until_count("web", 2).await;
    let answer = scene.until("web", |answer| answer.drift_count == 1).await;
    assert_eq!(answer.last_drift.unwrap().by, SOMEBODY);
    scene.autoscale("autoscaler", "web", 1).await;
    scene.until_state("web", DeploymentState::Autoscaled).await;

    let mut found = content_types(&entries.lock().unwrap());
    found.retain(|(kind, _)| matches!(kind, Kind::List | Kind::ListAsStream | Kind::Watch));
    for (kind, content_type) in &found {
        assert!(expected.contains(&(*kind, content_type)), "{kind:?} was answered in {content_type}");
    }
    for (kind, content_type) in expected {
        assert!(found.iter().any(|(found, _)| found == kind), "no {kind:?} was answered in {content_type}");
    }
    let shown = entries.lock().unwrap().iter().any(|entry| match &entry.note {
        Note::Shown { event } => event.starts_with(&format!("MODIFIED {}/web version ", scene.namespace)),
        _ => false,
    });
    assert!(shown, "the proxy does not understand what it passes on");
}

/// An autoscaler with the fields that one must have.
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

/// Kubernetes stores what comes as protobuf as it is, UTF-8 or not.
#[tokio::test]
async fn a_text_that_is_none_stops_no_watch() {
    let mut scene = Scene::new().await;
    let reference = messages::CrossVersionObjectReference {
        api_version: "apps/v1".into(),
        kind: b"\xff"[..].into(),
        name: "web".into(),
    };
    let strange = Autoscaler {
        metadata: Some(messages::ObjectMeta { name: "strange".to_owned(), ..Default::default() }),
        spec: Some(Spec { scale_target_ref: Some(reference), max_replicas: 3 }),
    };
    let path = format!("/apis/autoscaling/v2/namespaces/{}/horizontalpodautoscalers", scene.namespace);
    let create = Request::post(path)
        .header(header::CONTENT_TYPE, "application/vnd.kubernetes.protobuf")
        .body(Envelope::new("autoscaling/v2", "HorizontalPodAutoscaler", &strange).seal().to_vec());
    let admin = scene.control_plane.admin().await.unwrap();
    admin.request_text(create.unwrap()).await.unwrap();

    scene.create_managed("web", 2).await;
    scene.autoscale("autoscaler", "web", 1).await;
    scene.until_state("web", DeploymentState::Autoscaled).await;
    let scene = scene.restart(async |_| ()).await;
    scene.until_state("web", DeploymentState::Autoscaled).await;
}

/// Whoever asks for a listing as a stream hears that there is none.
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
async fn json_where_there_is_no_other() {
    const JSON: &str = "application/json";
    let expected = [(Kind::ListAsStream, JSON), (Kind::Watch, JSON)];
    check(Encodings::JsonOnly, Box::new(|_, _, _| None), &expected).await;
    check(Encodings::JsonOnly, in_pages(), &[(Kind::List, JSON), (Kind::Watch, JSON)]).await;
}
