//! In which encodings the API server answers listings and watches: protobuf, and JSON where there is no other.

use std::collections::HashMap;
use std::path::Path;
use std::sync::{Arc, Mutex};

use replica_count_api::proto::DeploymentState;
use replica_count_testbed::control_plane::Scope;
use replica_count_testbed::fault_proxy::{Encodings, Entry, Fault, Kind, Note, Plan};
use replica_count_testbed::{FaultProxy, manager};

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
            Note::Served { .. } | Note::Answered { .. } | Note::Shown { .. } | Note::Hidden { .. } => {}
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
