//! Drift of every kind is put back, and the right one is named.

use std::fs;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Patch, PatchParams};
use replica_count_api::proto::{self, DeploymentState};
use replica_count_api::response;
use serde_json::json;

use crate::scene::{SOMEBODY, Scene, eventually, shared};

/// Who is expected behind a drift: field manager, operation, subresource.
type Culprit = (&'static str, &'static str, &'static str);

fn culprit(drift: &proto::Drift) -> (&str, &str, &str) {
    (&drift.by, &drift.operation, &drift.subresource)
}

/// Manages 3 replicas, lets `drift` change that, and expects it to be put back and `expected` to be named.
async fn check(expected: Culprit, found: i32, drift: impl AsyncFnOnce(&Scene<'static>)) {
    let mut scene = Scene::new().await;
    scene.create_managed("web", 3).await;
    drift(&scene).await;
    let answer = scene.until("web", |answer| answer.drift_count > 0).await;
    scene.until_count("web", 3).await;
    scene.until_state("web", DeploymentState::InSync).await;
    let drift = answer.last_drift.unwrap();
    assert_eq!(culprit(&drift), expected);
    assert_eq!((drift.from, drift.to), (Some(3), Some(found)));
    let age = Timestamp::now().as_second() - drift.at.unwrap().seconds;
    assert!((0..60).contains(&age), "{age} s ago");
    let metrics = scene.manager.metrics().await.unwrap();
    assert!(metrics.contains("replica_count_manager_repairs_total 1\n"), "{metrics}");
}

#[tokio::test]
async fn by_kubectl_scale() {
    check(("kubectl", "Update", "scale"), 7, async |scene| {
        let output = scene.kubectl(["scale", "deployment/web", "--replicas=7"]);
        assert!(output.status.success(), "{output:?}");
    })
    .await;
}

#[tokio::test]
async fn by_scale_to_zero() {
    // A Scale of 0 has no `replicas`, so Kubernetes keeps no owner of it: unknown, and never a guess.
    check(("", "", ""), 0, async |scene| scene.scale("web", 0).await).await;
}

#[tokio::test]
async fn by_scale_of_somebody() {
    check((SOMEBODY, "Update", "scale"), 1, async |scene| scene.scale("web", 1).await).await;
}

#[tokio::test]
async fn by_patch() {
    for count in [5, 0] {
        check(("script", "Update", ""), count, async |scene| {
            let parameters =
                PatchParams { field_manager: Some("script".to_owned()), ..PatchParams::default() };
            let patch = Patch::Merge(json!({ "spec": { "replicas": count } }));
            scene.deployments.patch("web", &parameters, &patch).await.unwrap();
        })
        .await;
    }
}

#[tokio::test]
async fn by_forced_server_side_apply() {
    check(("helm", "Apply", ""), 5, async |scene| {
        let parameters = PatchParams::apply("helm").force();
        scene.deployments.patch("web", &parameters, &Patch::Apply(manifest(scene, 5).await)).await.unwrap();
    })
    .await;
}

#[tokio::test]
async fn by_deletion_and_creation() {
    check(("creator", "Update", ""), 5, async |scene| {
        let manifest: Deployment = serde_json::from_value(manifest(scene, 5).await).unwrap();
        scene.delete_deployment("web").await;
        let parameters = kube::api::PostParams {
            field_manager: Some("creator".to_owned()),
            ..kube::api::PostParams::default()
        };
        scene.deployments.create(&parameters, &manifest).await.unwrap();
    })
    .await;
}

/// The Deployment as a manifest with another count.
async fn manifest(scene: &Scene<'_>, replicas: i32) -> serde_json::Value {
    let found = scene.deployments.get("web").await.unwrap();
    let mut spec = serde_json::to_value(found.spec).unwrap();
    spec["replicas"] = replicas.into();
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" }, "spec": spec })
}

#[tokio::test]
async fn a_server_side_apply_after_a_repair_is_refused_by_kubernetes() {
    let mut scene = Scene::new().await;
    scene.create_managed("web", 3).await;
    scene.scale("web", 4).await;
    scene.until("web", |answer| answer.drift_count == 1 && answer.state() == DeploymentState::InSync).await;
    let patch = Patch::Apply(manifest(&scene, 5).await);
    let refused = scene.deployments.patch("web", &PatchParams::apply("helm"), &patch).await;
    let Err(kube::Error::Api(status)) = refused else { panic!("{refused:?}") };
    assert_eq!(status.code, 409);
    assert!(status.message.contains("replica-count-manager"), "{}", status.message);
    assert_eq!(scene.get("web").await.unwrap().drift_count, 1, "nothing drifted");
}

#[tokio::test]
async fn while_the_server_is_down() {
    let mut scene = Scene::new().await;
    scene.create_managed("web", 3).await;
    scene.create_managed("scaled", 3).await;
    scene.create_managed("idle", 2).await;
    // Kubernetes keeps whole seconds, and what changes in the second of the Set may be older than it.
    let set_at = scene.get("web").await.unwrap().set_at.unwrap().seconds;
    eventually("the second of the Set is over", async || {
        let now = Timestamp::now().as_second();
        if now > set_at { Ok(()) } else { Err(now) }
    })
    .await;
    let scene = scene
        .restart(async |deployments| {
            let parameters =
                PatchParams { field_manager: Some("night".to_owned()), ..PatchParams::default() };
            let patch = Patch::Merge(json!({ "spec": { "replicas": 9 } }));
            deployments.patch("web", &parameters, &patch).await.unwrap();
            deployments.patch_scale("scaled", &parameters, &patch).await.unwrap();
        })
        .await;
    for (name, expected) in [("web", ("night", "Update", "")), ("scaled", ("night", "Update", "scale"))] {
        scene.until_count(name, 3).await;
        let answer = scene.until(name, |answer| answer.state() == DeploymentState::InSync).await;
        assert_eq!(culprit(&answer.last_drift.unwrap()), expected);
    }
    let idle = scene.until("idle", |answer| answer.state() == DeploymentState::InSync).await;
    assert_eq!(idle.last_drift, None);
}

#[tokio::test]
async fn nobody_is_a_culprit_for_what_was_there_before_the_setting() {
    let mut scene = Scene::new().await;
    scene.create("web", 1).await;
    let early = proto::SetDeploymentRequest { allow_missing: true, ..scene.set_request("early", 4) };
    scene.client.set_deployment(early).await.unwrap();
    // Settings that the server stored, but died before it put them into effect.
    let Scene { namespace, options, .. } = &scene;
    let setting = |name: &str, more: &str| {
        format!(r#"{{"name":"{name}","namespace":"{namespace}","replicas":4{more}}}"#)
    };
    let set_now = format!(r#","setAt":"{}""#, Timestamp::now());
    let store = options.store();
    let settings = [setting("by-hand", ""), setting("early", &set_now), setting("web", &set_now)];
    scene.create("by-hand", 1).await;
    let mut scene =
        scene.restart(async |_| fs::write(store, format!("[{}]", settings.join(","))).unwrap()).await;
    scene.until_state("early", DeploymentState::Missing).await;
    scene.create("early", 1).await;
    for name in ["by-hand", "early", "web"] {
        scene.until_count(name, 4).await;
        assert_eq!(scene.get(name).await.unwrap().last_drift, None, "{name}");
    }
}

#[tokio::test]
async fn of_two_hundred_targets_at_once() {
    const TARGETS: usize = 200;
    let mut scene = Scene::new().await;
    let names: Vec<String> = (0..TARGETS).map(|n| format!("web-{n}")).collect();
    join_all(names.iter().map(|name| scene.create(name, 2))).await;
    let sets = names.iter().map(|name| {
        let (mut client, request) = (scene.client.clone(), scene.set_request(name, 2));
        async move { client.set_deployment(request).await.unwrap() }
    });
    join_all(sets).await;
    join_all(names.iter().map(|name| scene.scale(name, 0))).await;
    let all_repaired = eventually("all are repaired", async || {
        let request = proto::ListDeploymentsRequest {
            namespace: scene.namespace.clone(),
            ..proto::ListDeploymentsRequest::default()
        };
        let rows =
            scene.client.list_deployments(request).await.unwrap().into_inner().deployments_replica_config;
        assert_eq!(rows.len(), TARGETS);
        let drifted = rows.iter().filter(|row| row.state() != DeploymentState::InSync).count();
        if drifted == 0 { Ok(()) } else { Err(drifted) }
    });
    all_repaired.await;
    for name in &names {
        assert_eq!(scene.count(name).await, Some(2), "{name}");
        assert_eq!(scene.get(name).await.unwrap().drift_count, 1, "{name}");
    }
}

#[tokio::test]
async fn of_a_target_at_zero() {
    let mut scene = Scene::new().await;
    scene.create("web", 3).await;
    let answer = scene.set("web", 0).await;
    assert_eq!((answer.old_replicas, answer.new_replicas), (Some(3), Some(0)));
    scene.until_count("web", 0).await;
    scene.scale("web", 5).await;
    scene.until("web", |answer| answer.drift_count == 1 && answer.state() == DeploymentState::InSync).await;
    scene.until_count("web", 0).await;
    scene.set("web", 4).await;
    scene.until_count("web", 4).await;
}

#[tokio::test]
async fn a_set_is_no_drift() {
    let mut scene = Scene::new().await;
    scene.create("web", 3).await;
    for count in [5, 1, 4] {
        scene.set("web", count).await;
        scene.until_count("web", count).await;
    }
    let answer = scene.get("web").await.unwrap();
    assert_eq!((answer.drift_count, answer.generation), (0, 3));
}

#[tokio::test]
async fn what_is_not_managed_is_left_alone() {
    let mut scene = Scene::new().await;
    scene.create_managed("web", 3).await;
    scene.create_managed("fence", 3).await;
    scene.create("other", 3).await;
    scene.delete_setting("web").await;
    for name in ["web", "other"] {
        scene.scale(name, 6).await;
    }
    // Repairs come in the order of the drifts, so when this one has come, those before it would have.
    scene.scale("fence", 6).await;
    scene.until_count("fence", 3).await;
    for name in ["web", "other"] {
        assert_eq!(scene.count(name).await, Some(6), "{name}");
        let answer = scene.until(name, |answer| answer.current_replicas == Some(6)).await;
        assert_eq!((answer.state(), answer.desired_replicas), (DeploymentState::Unmanaged, None), "{name}");
    }
}

#[tokio::test]
async fn a_deleted_deployment_is_missing_and_enforced_once_it_is_back() {
    let mut scene = Scene::new().await;
    scene.create_managed("web", 3).await;
    scene.delete_deployment("web").await;
    let answer = scene.until("web", |answer| answer.state() == DeploymentState::Missing).await;
    assert_eq!((answer.desired_replicas, answer.current_replicas), (Some(3), None));
    scene.create("web", 1).await;
    scene.until_count("web", 3).await;
}

#[tokio::test]
async fn a_count_can_be_set_before_the_deployment_exists() {
    let mut scene = Scene::new().await;
    let refused = scene.client.set_deployment(scene.set_request("early", 4)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::NotFound);
    let request = proto::SetDeploymentRequest { allow_missing: true, ..scene.set_request("early", 4) };
    let answer = scene.client.set_deployment(request).await.unwrap().into_inner();
    assert_eq!((answer.old_replicas, answer.new_replicas), (None, Some(4)));
    scene.create("early", 1).await;
    scene.until_count("early", 4).await;
    assert_eq!(scene.get("early").await.unwrap().drift_count, 0);
}

#[tokio::test]
async fn an_ignored_drift_is_seen_and_counted_until_enforcement_resumes() {
    let mut scene = Scene::new().await;
    scene.create_managed("web", 3).await;
    let until = Timestamp::now() + Duration::from_secs(3);
    scene.ignore("web", Some(until)).await;
    scene.scale("web", 8).await;
    let answer = scene.until("web", |answer| answer.drift_count == 1).await;
    assert_eq!(answer.state(), DeploymentState::Ignored);
    assert_eq!(answer.enforcement(), proto::EnforcementMode::Ignore);
    assert_eq!(answer.enforcement_until, Some(response::timestamp(until)));
    assert_eq!(scene.count("web").await, Some(8));
    scene.until_count("web", 3).await;
    assert!(Timestamp::now() >= until, "repaired while it was ignored");
    let answer = scene.until("web", |answer| answer.state() == DeploymentState::InSync).await;
    assert_eq!((answer.drift_count, answer.enforcement()), (1, proto::EnforcementMode::Enforce));
}

#[tokio::test]
async fn a_server_that_ignores_repairs_nothing() {
    let mut scene = Scene::with(shared().await, &["--enforcement", "ignore"]).await;
    scene.create("web", 3).await;
    scene.set("web", 5).await;
    let answer = scene.until("web", |answer| answer.state() == DeploymentState::Ignored).await;
    assert_eq!(answer.drift_count, 0, "a new setting is no drift");
    scene.scale("web", 5).await;
    scene.until_state("web", DeploymentState::InSync).await;
    scene.scale("web", 8).await;
    let answer = scene.until("web", |answer| answer.drift_count == 1).await;
    assert_eq!(answer.enforcement(), proto::EnforcementMode::Ignore);
    assert_eq!(scene.count("web").await, Some(8));
    let metrics = scene.manager.metrics().await.unwrap();
    assert!(metrics.contains("replica_count_manager_repairs_total 0\n"), "{metrics}");
}
