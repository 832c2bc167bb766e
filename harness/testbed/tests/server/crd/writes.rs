//! Set, SetEnforcement and Delete, and what others do with kubectl.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};
use replica_count_api::proto::{self, DeploymentState, EnforcementMode};
use replica_count_testbed::Manager;
use replica_count_testbed::control_plane::Scope;
use serde_json::json;
use tokio::time::{self, Instant};
use tonic::Code;
use tonic_types::StatusExt as _;

use super::{in_namespace, with_crd};
use crate::fixture::{Fixture, SOMEBODY, eventually, options};

/// How often another server is watched while it follows.
const ROUNDS: i32 = 100;

fn annotation<'a>(object: &'a DynamicObject, name: &str) -> Option<&'a str> {
    object.metadata.annotations.as_ref()?.get(&format!("replicacount.dev/{name}")).map(String::as_str)
}

#[tokio::test]
async fn who_sets_a_count_is_known_if_only_the_spelling_of_the_spec_changes() {
    let mut fixture = with_crd(&[]).await;
    fixture.create("web", 3).await;
    fixture.create_object("web", json!({ "replicas": 3, "enforcement": "Enforce" })).await.unwrap();
    fixture.wait_for("web", |answer| answer.desired_replicas == Some(3)).await;
    let answer = fixture.set("web", 3).await;
    let object = fixture.object("web").await.unwrap();
    assert_eq!(object.data["spec"], json!({ "replicas": 3 }));
    assert_eq!((answer.generation, object.metadata.generation), (2, Some(2)));
    assert_eq!(
        (annotation(&object, "set-by"), annotation(&object, "set-generation")),
        (Some("client"), Some("2"))
    );
    assert_eq!(fixture.get("web").await.unwrap().set_by, "client");
    // Now it is written as this server does: the generation stays.
    assert_eq!(fixture.set("web", 3).await.generation, 2);
    assert_eq!(fixture.get("web").await.unwrap().set_by, "client");
}

#[tokio::test]
async fn a_set_is_an_object_that_is_enforced() {
    let mut fixture = with_crd(&[]).await;
    fixture.create("web", 1).await;
    let mut request = fixture.set_request("web", 3);
    request.reason = "sale".to_owned();
    let answer = fixture.client.set_deployment(request).await.unwrap().into_inner();
    assert_eq!((answer.old_replicas, answer.new_replicas, answer.generation), (Some(1), Some(3), 1));
    // Read your writes, at once.
    let read = fixture.get("web").await.unwrap();
    assert_eq!(
        (read.desired_replicas, read.set_by.as_str(), read.reason.as_str()),
        (Some(3), "client", "sale")
    );
    fixture.wait_for_count("web", 3).await;
    fixture.scale("web", 7).await;
    fixture.wait_for_count("web", 3).await;

    let object = fixture.object("web").await.unwrap();
    assert_eq!(object.data["spec"], json!({ "replicas": 3, "reason": "sale" }));
    assert_eq!((annotation(&object, "set-by"), object.metadata.generation), (Some("client"), Some(1)));

    // The generation grows with each change of the spec.
    let answer = fixture.set("web", 4).await;
    assert_eq!(answer.generation, 2);
    let until = jiff::Timestamp::now() + Duration::from_hours(1);
    fixture.ignore("web", Some(until)).await;
    let read = fixture.get("web").await.unwrap();
    assert_eq!((read.generation, read.enforcement()), (3, EnforcementMode::Ignore));
    assert_eq!((read.set_by.as_str(), read.desired_replicas), ("client", Some(4)));
    let object = fixture.object("web").await.unwrap();
    assert_eq!(object.data["spec"]["enforcement"], "Ignore");
    assert!(object.data["spec"].get("reason").is_none(), "{:?}", object.data["spec"]);

    fixture.delete_setting("web").await;
    assert!(fixture.object("web").await.is_none());
    let read = fixture.get("web").await.unwrap();
    assert_eq!((read.desired_replicas, read.state()), (None, DeploymentState::Unmanaged));
}

#[tokio::test]
async fn kubectl_does_the_same_as_the_rpcs() {
    let mut fixture = with_crd(&[]).await;
    fixture.create("web", 1).await;
    fixture.create_object("web", json!({ "replicas": 2 })).await.unwrap();
    fixture.wait_for_count("web", 2).await;
    // Through the API, then by kubectl: the user of the first one has not set the second one.
    fixture.set("web", 3).await;
    fixture.patch_object("web", json!({ "replicas": 5 })).await.unwrap();
    let read = fixture.wait_for("web", |answer| answer.desired_replicas == Some(5)).await;
    assert_eq!((read.set_by.as_str(), read.generation), (SOMEBODY, 3));
    fixture.wait_for_count("web", 5).await;
    fixture.patch_object("web", json!({ "enforcement": "Ignore" })).await.unwrap();
    fixture.wait_for("web", |answer| answer.enforcement() == EnforcementMode::Ignore).await;
    fixture.delete_object("web").await;
    fixture.wait_for_state("web", DeploymentState::Unmanaged).await;
}

/// Many by `kubectl apply`, and then somebody scales them all.
#[tokio::test]
async fn all_of_a_file_are_put_back() {
    const OBJECTS: usize = 200;
    let mut fixture = with_crd(&[]).await;
    let objects = (0..OBJECTS).flat_map(|number| {
        let name = format!("web-{number}");
        let metadata = json!({ "name": name, "namespace": fixture.namespace });
        let labels = json!({ "app": name });
        let container = json!({ "name": "web", "image": "web" });
        let template = json!({ "metadata": { "labels": labels }, "spec": { "containers": [container] } });
        let spec = json!({ "replicas": 2, "selector": { "matchLabels": labels }, "template": template });
        [
            json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec }),
            json!({
                "apiVersion": "replicacount.dev/v1alpha1",
                "kind": "ReplicaCount",
                "metadata": metadata,
                "spec": { "replicas": 3 },
            }),
        ]
    });
    let list = json!({ "apiVersion": "v1", "kind": "List", "items": objects.collect::<Vec<_>>() });
    let file = fixture.control_plane.folder("many").unwrap().join("list.json");
    std::fs::write(&file, list.to_string()).unwrap();
    let applied = fixture.kubectl(["apply", "--server-side", "--filename", file.to_str().unwrap()]);
    assert!(applied.status.success(), "{applied:?}");
    all_have(&fixture, OBJECTS, 3).await;
    let scaled = fixture.kubectl(["scale", "deployment", "--all", "--replicas=5"]);
    assert!(scaled.status.success(), "{scaled:?}");
    all_have(&fixture, OBJECTS, 3).await;
    let rows = fixture.managed_rows().await;
    assert_eq!(rows.len(), OBJECTS);
    let other = rows.iter().find(|row| row.state() != DeploymentState::InSync);
    assert!(other.is_none(), "{other:?}");
    for number in [0, OBJECTS / 2, OBJECTS - 1] {
        let answer = fixture.get(&format!("web-{number}")).await.unwrap();
        assert_eq!((answer.drift_count, &*answer.last_drift.unwrap().by), (1, "kubectl"));
    }
}

/// Waits until all Deployments of the namespace have this count.
async fn all_have(fixture: &Fixture<'_>, objects: usize, count: i32) {
    eventually("all have their count", async || {
        let all = fixture.deployments.list(&ListParams::default()).await.unwrap().items;
        let has = |deployment: &&Deployment| deployment.spec.as_ref().unwrap().replicas == Some(count);
        let right = all.iter().filter(has).count();
        if right == objects { Ok(()) } else { Err(right) }
    })
    .await;
}

#[tokio::test]
async fn errors_are_those_of_the_file() {
    let mut fixture = with_crd(&[]).await;
    fixture.create_managed("web", 2).await;
    let mut request = fixture.set_request("web", 3);
    request.expected_generation = Some(7);
    let refused = fixture.client.set_deployment(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::Aborted);
    assert_eq!(refused.get_details_error_info().unwrap().reason, "GENERATION_MISMATCH");
    let mut request = fixture.set_request("web", 3);
    request.expected_generation = Some(1);
    assert_eq!(fixture.client.set_deployment(request).await.unwrap().into_inner().generation, 2);

    fixture.create("api", 1).await;
    let request = proto::DeleteDeploymentRequest {
        name: "api".to_owned(),
        namespace: fixture.namespace.clone(),
        ..proto::DeleteDeploymentRequest::default()
    };
    let refused = fixture.client.delete_deployment(request).await.unwrap_err();
    assert_eq!(refused.code(), Code::NotFound);
    assert_eq!(refused.get_details_error_info().unwrap().reason, "DEPLOYMENT_NOT_MANAGED");
}

#[tokio::test]
async fn names_of_objects_do_not_collide() {
    let mut fixture = with_crd(&[]).await;
    // An object with the name that a Set would use, for another workload.
    fixture.create("web", 1).await;
    fixture.create("other", 1).await;
    fixture.create_object("web", json!({ "target": { "name": "other" }, "replicas": 4 })).await.unwrap();
    fixture.wait_for_count("other", 4).await;
    fixture.set("web", 2).await;
    fixture.wait_for_count("web", 2).await;
    assert_eq!(fixture.count("other").await, Some(4));
    fixture.delete_setting("web").await;
    assert_eq!(fixture.get("other").await.unwrap().desired_replicas, Some(4));

    fixture.control_plane.stateful_set(&fixture.namespace, "web", 1).await.unwrap();
    let request = proto::SetDeploymentRequest {
        kind: proto::Kind::StatefulSet.into(),
        ..fixture.set_request("web", 3)
    };
    fixture.client.set_deployment(request).await.unwrap();
    let object = fixture.object("web.statefulset").await.unwrap();
    assert_eq!(object.data["spec"]["target"], json!({ "kind": "StatefulSet", "name": "web" }));
}

/// A second server that only watches: it must see and store the same.
async fn second(fixture: &Fixture<'_>) -> Manager {
    let options = options(fixture.control_plane, &Scope::Cluster, &["--enforcement", "ignore"]).await;
    let options = in_namespace(fixture.control_plane, options, &fixture.namespace).await;
    let mut manager = Manager::start(&options).await.unwrap();
    manager.wait_ready().await.unwrap();
    manager
}

#[tokio::test]
async fn another_server_follows() {
    let mut fixture = with_crd(&[]).await;
    let other = second(&fixture).await;
    let mut other = other.client().await.unwrap();
    fixture.create("web", 1).await;
    let mut lags = Vec::new();
    for round in 0..ROUNDS {
        let generation = fixture.set("web", 2 + round).await.generation;
        // With the generation that it may not have seen yet.
        let mut request = fixture.set_request("web", 100 + round);
        request.expected_generation = Some(generation);
        let answer = other.set_deployment(request).await.unwrap().into_inner();
        assert_eq!(answer.generation, generation + 1);
        let generation =
            fixture.wait_for("web", |answer| answer.desired_replicas == Some(100 + round)).await.generation;
        assert_eq!(generation, answer.generation);
        let written = Instant::now();
        fixture.set("web", 200 + round).await;
        loop {
            let request = proto::GetDeploymentRequest {
                name: "web".to_owned(),
                namespace: fixture.namespace.clone(),
                ..proto::GetDeploymentRequest::default()
            };
            let read = other.get_deployment(request).await.unwrap().into_inner();
            if read.desired_replicas == Some(200 + round) {
                break;
            }
            assert!(written.elapsed() < Duration::from_secs(5), "{read:?}");
            time::sleep(Duration::from_millis(1)).await;
        }
        lags.push(written.elapsed());
    }
    lags.sort();
    println!(
        "a Set is seen by another server {:?} after it was sent (median of {}; p99 {:?}, most {:?})",
        lags[lags.len() / 2],
        lags.len(),
        lags[lags.len() * 99 / 100 - 1],
        lags[lags.len() - 1]
    );
    assert!(lags[lags.len() * 9 / 10] < Duration::from_secs(1), "{lags:?}");
}

#[tokio::test]
async fn of_two_sets_at_once_with_one_generation_one_is_refused() {
    let mut fixture = with_crd(&[]).await;
    let other = second(&fixture).await;
    fixture.create_managed("web", 1).await;
    let clients = [fixture.manager.client().await.unwrap(), other.client().await.unwrap()];
    let mut generation = fixture.get("web").await.unwrap().generation;
    for round in 0..20 {
        let sets = clients.iter().enumerate().map(|(server, client)| {
            let mut client = client.clone();
            let count = 10 + 2 * round + i32::try_from(server).unwrap();
            let expected_generation = Some(generation);
            let request =
                proto::SetDeploymentRequest { expected_generation, ..fixture.set_request("web", count) };
            async move { client.set_deployment(request).await.map(tonic::Response::into_inner) }
        });
        let answers = futures_util::future::join_all(sets).await;
        let (stored, refused): (Vec<_>, Vec<_>) = answers.into_iter().partition(Result::is_ok);
        let [Ok(stored)] = &stored[..] else { panic!("{stored:?} and {refused:?}") };
        assert_eq!(refused[0].as_ref().unwrap_err().code(), Code::Aborted, "{refused:?}");
        let object = fixture.object("web").await.unwrap();
        assert_eq!(object.data["spec"]["replicas"], json!(stored.new_replicas));
        assert_eq!((object.metadata.generation, stored.generation), (Some(generation + 1), generation + 1));
        generation += 1;
    }
}

#[tokio::test]
async fn many_sets_at_once_are_stored_one_after_the_other() {
    let mut fixture = with_crd(&[]).await;
    let other = second(&fixture).await;
    fixture.create_managed("web", 1).await;
    let before = fixture.get("web").await.unwrap().generation;
    let clients = [fixture.manager.client().await.unwrap(), other.client().await.unwrap()];
    let sets = (0..40).map(|round| {
        let count = 10 + i32::try_from(round).unwrap();
        let (mut client, request) = (clients[round % 2].clone(), fixture.set_request("web", count));
        async move { client.set_deployment(request).await.map(tonic::Response::into_inner) }
    });
    let answers = futures_util::future::join_all(sets).await;
    let mut generations: Vec<i64> = answers.into_iter().map(|answer| answer.unwrap().generation).collect();
    generations.sort_unstable();
    assert_eq!(generations, (before + 1..=before + 40).collect::<Vec<_>>());
}

#[tokio::test]
async fn settings_survive_a_restart() {
    let mut fixture = with_crd(&[]).await;
    fixture.create_managed("web", 3).await;
    let mut fixture = fixture
        .restart(async |deployments| {
            let patch = kube::api::Patch::Merge(json!({ "spec": { "replicas": 9 } }));
            deployments.patch_scale("web", &kube::api::PatchParams::default(), &patch).await.unwrap();
        })
        .await;
    fixture.wait_for_count("web", 3).await;
    let read = fixture.get("web").await.unwrap();
    assert_eq!((read.desired_replicas, read.set_by.as_str(), read.generation), (Some(3), "client", 1));
}

#[tokio::test]
async fn a_restart_keeps_the_guard() {
    let control_plane = crate::fixture::shared().await;
    let guard = control_plane.namespace("guard").await.unwrap();
    if !control_plane.install_guard(&guard).await.unwrap() {
        return;
    }
    let mut fixture = with_crd(&["--guard", "correct", "--guard-name", &guard]).await;
    fixture.create_managed("web", 3).await;
    fixture.wait_for("web", |answer| answer.guarded).await;
    let kind = GroupVersionKind::gvk("replicacount.dev", "v1alpha1", "ReplicaGuard");
    let guards: Api<DynamicObject> = Api::namespaced_with(
        control_plane.admin().await.unwrap(),
        &fixture.namespace,
        &ApiResource::from_gvk(&kind),
    );
    let before = guards.get(&guard).await.unwrap().metadata.uid;
    let mut fixture = fixture.restart(async |_| {}).await;
    fixture.wait_for("web", |answer| answer.guarded).await;
    assert_eq!(
        guards.get(&guard).await.unwrap().metadata.uid,
        before,
        "a guard that is deleted protects nobody"
    );
    fixture.scale("web", 7).await;
    assert_eq!(fixture.count("web").await, Some(3));
    assert_eq!(fixture.get("web").await.unwrap().drift_count, 0);
}
