//! Every kind of drift is repaired, and its author is named.

use std::fs;
use std::time::Duration;

use futures_util::future::join_all;
use jiff::Timestamp;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Patch, PatchParams};
use replica_count_api::proto::{self, DeploymentState};
use replica_count_api::response;
use serde_json::json;

use crate::fixture::{Fixture, SOMEBODY, eventually, shared, wait_for_metric};

/// The author of a drift: field manager, operation, subresource.
type Author = (&'static str, &'static str, &'static str);

fn author(drift: &proto::Drift) -> (&str, &str, &str) {
    (&drift.by, &drift.operation, &drift.subresource)
}

/// Manages 3 replicas, lets `drift` change them, and expects a repair that names `expected` as the author.
async fn check(expected: Author, found: i32, drift: impl AsyncFnOnce(&Fixture<'static>)) {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    drift(&fixture).await;
    let answer = fixture.wait_for("web", |answer| answer.drift_count > 0).await;
    fixture.wait_for_count("web", 3).await;
    fixture.wait_for_state("web", DeploymentState::InSync).await;
    let drift = answer.last_drift.unwrap();
    assert_eq!(author(&drift), expected);
    assert_eq!((drift.from, drift.to), (Some(3), Some(found)));
    let age = Timestamp::now().as_second() - drift.at.unwrap().seconds;
    assert!((0..60).contains(&age), "{age} s ago");
    // The watch may be faster than the answer to the write.
    wait_for_metric(&fixture.manager, "repairs_total 1").await;
}

#[tokio::test]
async fn by_kubectl_scale() {
    check(("kubectl", "Update", "scale"), 7, async |fixture| {
        let output = fixture.kubectl(["scale", "deployment/web", "--replicas=7"]);
        assert!(output.status.success(), "{output:?}");
    })
    .await;
}

#[tokio::test]
async fn by_scale_to_zero() {
    // A Scale of 0 has no `replicas` field, so Kubernetes records no owner. The server must not guess one.
    check(("", "", ""), 0, async |fixture| fixture.scale("web", 0).await).await;
}

#[tokio::test]
async fn by_scale_of_somebody() {
    check((SOMEBODY, "Update", "scale"), 1, async |fixture| fixture.scale("web", 1).await).await;
}

#[tokio::test]
async fn by_patch() {
    for count in [5, 0] {
        check(("script", "Update", ""), count, async |fixture| {
            let parameters =
                PatchParams { field_manager: Some("script".to_owned()), ..PatchParams::default() };
            let patch = Patch::Merge(json!({ "spec": { "replicas": count } }));
            fixture.deployments.patch("web", &parameters, &patch).await.unwrap();
        })
        .await;
    }
}

#[tokio::test]
async fn by_forced_server_side_apply() {
    check(("helm", "Apply", ""), 5, async |fixture| {
        let parameters = PatchParams::apply("helm").force();
        fixture
            .deployments
            .patch("web", &parameters, &Patch::Apply(manifest(fixture, 5).await))
            .await
            .unwrap();
    })
    .await;
}

#[tokio::test]
async fn by_deletion_and_creation() {
    check(("creator", "Update", ""), 5, async |fixture| {
        let manifest: Deployment = serde_json::from_value(manifest(fixture, 5).await).unwrap();
        fixture.delete_deployment("web").await;
        let parameters = kube::api::PostParams {
            field_manager: Some("creator".to_owned()),
            ..kube::api::PostParams::default()
        };
        fixture.deployments.create(&parameters, &manifest).await.unwrap();
    })
    .await;
}

/// The manifest of the Deployment, with another count.
async fn manifest(fixture: &Fixture<'_>, replicas: i32) -> serde_json::Value {
    let found = fixture.deployments.get("web").await.unwrap();
    let mut spec = serde_json::to_value(found.spec).unwrap();
    spec["replicas"] = replicas.into();
    json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": { "name": "web" }, "spec": spec })
}

#[tokio::test]
async fn a_server_side_apply_after_a_repair_is_refused_by_kubernetes() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    fixture.scale("web", 4).await;
    fixture
        .wait_for("web", |answer| answer.drift_count == 1 && answer.state() == DeploymentState::InSync)
        .await;
    let patch = Patch::Apply(manifest(&fixture, 5).await);
    let refused = fixture.deployments.patch("web", &PatchParams::apply("helm"), &patch).await;
    let Err(kube::Error::Api(status)) = refused else { panic!("{refused:?}") };
    assert_eq!(status.code, 409);
    assert!(status.message.contains("replica-count-manager"), "{}", status.message);
    assert_eq!(fixture.get("web").await.unwrap().drift_count, 1, "nothing drifted");
}

#[tokio::test]
async fn while_the_server_is_down() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    fixture.create_managed("scaled", 3).await;
    fixture.create_managed("idle", 2).await;
    // Kubernetes stores whole seconds, so a change in the same second as the Set may look older than the Set.
    let set_at = fixture.get("web").await.unwrap().set_at.unwrap().seconds;
    eventually("the second of the Set is over", async || {
        let now = Timestamp::now().as_second();
        if now > set_at { Ok(()) } else { Err(now) }
    })
    .await;
    let fixture = fixture
        .restart(async |deployments| {
            let parameters =
                PatchParams { field_manager: Some("night".to_owned()), ..PatchParams::default() };
            let patch = Patch::Merge(json!({ "spec": { "replicas": 9 } }));
            deployments.patch("web", &parameters, &patch).await.unwrap();
            deployments.patch_scale("scaled", &parameters, &patch).await.unwrap();
        })
        .await;
    for (name, expected) in [("web", ("night", "Update", "")), ("scaled", ("night", "Update", "scale"))] {
        fixture.wait_for_count(name, 3).await;
        let answer = fixture.wait_for(name, |answer| answer.state() == DeploymentState::InSync).await;
        assert_eq!(author(&answer.last_drift.unwrap()), expected);
    }
    let idle = fixture.wait_for("idle", |answer| answer.state() == DeploymentState::InSync).await;
    assert_eq!(idle.last_drift, None);
}

#[tokio::test]
async fn a_count_older_than_its_setting_is_no_drift() {
    let mut fixture = Fixture::new().await;
    fixture.create("web", 1).await;
    let early = proto::SetDeploymentRequest { allow_missing: true, ..fixture.set_request("early", 4) };
    fixture.client.set_deployment(early).await.unwrap();
    // Settings stored just before the server died, and not applied yet.
    let Fixture { namespace, options, .. } = &fixture;
    let setting = |name: &str, more: &str| {
        format!(r#"{{"name":"{name}","namespace":"{namespace}","replicas":4{more}}}"#)
    };
    let set_now = format!(r#","setAt":"{}""#, Timestamp::now());
    let store = options.store();
    let settings = [setting("by-hand", ""), setting("early", &set_now), setting("web", &set_now)];
    fixture.create("by-hand", 1).await;
    let mut fixture =
        fixture.restart(async |_| fs::write(store, format!("[{}]", settings.join(","))).unwrap()).await;
    fixture.wait_for_state("early", DeploymentState::Missing).await;
    fixture.create("early", 1).await;
    for name in ["by-hand", "early", "web"] {
        fixture.wait_for_count(name, 4).await;
        assert_eq!(fixture.get(name).await.unwrap().last_drift, None, "{name}");
    }
}

#[tokio::test]
async fn of_two_hundred_targets_at_once() {
    const TARGETS: usize = 200;
    let mut fixture = Fixture::new().await;
    let names: Vec<String> = (0..TARGETS).map(|n| format!("web-{n}")).collect();
    join_all(names.iter().map(|name| fixture.create(name, 2))).await;
    let sets = names.iter().map(|name| {
        let (mut client, request) = (fixture.client.clone(), fixture.set_request(name, 2));
        async move { client.set_deployment(request).await.unwrap() }
    });
    join_all(sets).await;
    join_all(names.iter().map(|name| fixture.scale(name, 0))).await;
    let all_repaired = eventually("all are repaired", async || {
        let rows = fixture.managed_rows().await;
        assert_eq!(rows.len(), TARGETS);
        let drifted = rows.iter().filter(|row| row.state() != DeploymentState::InSync).count();
        if drifted == 0 { Ok(()) } else { Err(drifted) }
    });
    all_repaired.await;
    for name in &names {
        assert_eq!(fixture.count(name).await, Some(2), "{name}");
        assert_eq!(fixture.get(name).await.unwrap().drift_count, 1, "{name}");
    }
}

#[tokio::test]
async fn of_a_target_at_zero() {
    let mut fixture = Fixture::new().await;
    fixture.create("web", 3).await;
    let answer = fixture.set("web", 0).await;
    assert_eq!((answer.old_replicas, answer.new_replicas), (Some(3), Some(0)));
    fixture.wait_for_count("web", 0).await;
    fixture.scale("web", 5).await;
    let drifted = fixture
        .wait_for("web", |answer| answer.drift_count == 1 && answer.state() == DeploymentState::InSync)
        .await;
    assert_eq!(drifted.last_drift.unwrap().by, SOMEBODY, "the 0 that the server wrote has an owner");
    fixture.wait_for_count("web", 0).await;
    fixture.set("web", 4).await;
    fixture.wait_for_count("web", 4).await;
}

/// The author of the next change to `count` by somebody, which must be repaired to 3.
async fn next_author(fixture: &mut Fixture<'_>, count: i32) -> String {
    let before = fixture.get("web").await.unwrap().drift_count;
    fixture.scale("web", count).await;
    let is_repaired = |answer: &proto::GetDeploymentResponse| {
        answer.drift_count > before && answer.state() == DeploymentState::InSync
    };
    fixture.wait_for("web", is_repaired).await.last_drift.unwrap().by
}

#[tokio::test]
async fn authors_are_known_again_after_a_repair() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    assert_eq!(next_author(&mut fixture, 0).await, "", "Kubernetes records nobody for a 0");
    assert_eq!(next_author(&mut fixture, 5).await, SOMEBODY);

    // A scale to the present count makes Kubernetes forget the owner at the next write.
    fixture.delete_deployment("web").await;
    fixture.create("web", 3).await;
    fixture.wait_for_state("web", DeploymentState::InSync).await;
    fixture.scale("web", 3).await;
    let mut authors = Vec::new();
    for count in [4, 5, 6, 7] {
        authors.push(next_author(&mut fixture, count).await);
    }
    assert_eq!(authors[1..], [SOMEBODY; 3], "{authors:?}");
}

#[tokio::test]
async fn a_set_is_no_drift() {
    let mut fixture = Fixture::new().await;
    fixture.create("web", 3).await;
    for count in [5, 1, 4] {
        fixture.set("web", count).await;
        fixture.wait_for_count("web", count).await;
    }
    let answer = fixture.get("web").await.unwrap();
    assert_eq!((answer.drift_count, answer.generation), (0, 3));
}

#[tokio::test]
async fn unmanaged_counts_are_not_touched() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    fixture.create_managed("fence", 3).await;
    fixture.create("other", 3).await;
    fixture.delete_setting("web").await;
    for name in ["web", "other"] {
        fixture.scale(name, 6).await;
    }
    // Repairs follow the order of the drifts, so after this repair, earlier ones would have happened.
    fixture.scale("fence", 6).await;
    fixture.wait_for_count("fence", 3).await;
    for name in ["web", "other"] {
        assert_eq!(fixture.count(name).await, Some(6), "{name}");
        let answer = fixture.wait_for(name, |answer| answer.current_replicas == Some(6)).await;
        assert_eq!((answer.state(), answer.desired_replicas), (DeploymentState::Unmanaged, None), "{name}");
    }
}

#[tokio::test]
async fn a_deleted_deployment_is_missing_and_enforced_once_it_is_back() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    fixture.delete_deployment("web").await;
    let answer = fixture.wait_for("web", |answer| answer.state() == DeploymentState::Missing).await;
    assert_eq!((answer.desired_replicas, answer.current_replicas), (Some(3), None));
    fixture.create("web", 1).await;
    fixture.wait_for_count("web", 3).await;
}

#[tokio::test]
async fn a_count_can_be_set_before_the_deployment_exists() {
    let mut fixture = Fixture::new().await;
    let refused = fixture.client.set_deployment(fixture.set_request("early", 4)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::NotFound);
    let request = proto::SetDeploymentRequest { allow_missing: true, ..fixture.set_request("early", 4) };
    let answer = fixture.client.set_deployment(request).await.unwrap().into_inner();
    assert_eq!((answer.old_replicas, answer.new_replicas), (None, Some(4)));
    fixture.create("early", 1).await;
    fixture.wait_for_count("early", 4).await;
    assert_eq!(fixture.get("early").await.unwrap().drift_count, 0);
}

#[tokio::test]
async fn an_ignored_drift_is_counted_and_repaired_when_enforcement_resumes() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    let until = Timestamp::now() + Duration::from_secs(3);
    fixture.ignore("web", Some(until)).await;
    fixture.scale("web", 8).await;
    let answer = fixture.wait_for("web", |answer| answer.drift_count == 1).await;
    assert_eq!(answer.state(), DeploymentState::Ignored);
    assert_eq!(answer.enforcement(), proto::EnforcementMode::Ignore);
    assert_eq!(answer.enforcement_until, Some(response::timestamp(until)));
    assert_eq!(fixture.count("web").await, Some(8));
    fixture.wait_for_count("web", 3).await;
    assert!(Timestamp::now() >= until, "repaired while it was ignored");
    let answer = fixture.wait_for("web", |answer| answer.state() == DeploymentState::InSync).await;
    assert_eq!((answer.drift_count, answer.enforcement()), (1, proto::EnforcementMode::Enforce));
}

#[tokio::test]
async fn a_server_that_ignores_repairs_nothing() {
    let mut fixture = Fixture::with(shared().await, &["--enforcement", "ignore"]).await;
    fixture.create("web", 3).await;
    fixture.set("web", 5).await;
    let answer = fixture.wait_for("web", |answer| answer.state() == DeploymentState::Ignored).await;
    assert_eq!(answer.drift_count, 0, "a new setting is no drift");
    fixture.scale("web", 5).await;
    fixture.wait_for_state("web", DeploymentState::InSync).await;
    fixture.scale("web", 8).await;
    let answer = fixture.wait_for("web", |answer| answer.drift_count == 1).await;
    assert_eq!(answer.enforcement(), proto::EnforcementMode::Ignore);
    assert_eq!(fixture.count("web").await, Some(8));
    let metrics = fixture.manager.metrics().await.unwrap();
    assert!(metrics.contains("replica_count_manager_repairs_total 0\n"), "{metrics}");
}

#[tokio::test]
async fn lost_pods_are_counted_even_after_the_repair() {
    let mut fixture = Fixture::new().await;
    fixture.create("web", 5).await;
    let deployments = fixture.deployments.clone();
    let ready = async |ready: i32| {
        let status = json!({ "status": { "replicas": ready, "readyReplicas": ready } });
        let parameters = PatchParams::default();
        deployments.patch_status("web", &parameters, &Patch::Merge(status)).await.unwrap();
    };
    ready(5).await;
    fixture.set("web", 5).await;
    fixture.wait_for("web", |answer| answer.ready_replicas == Some(5)).await;
    fixture.scale("web", 0).await;
    let lost =
        |answer: &proto::GetDeploymentResponse| answer.last_drift.as_ref().and_then(|drift| drift.pods_lost);
    fixture.wait_for("web", |answer| answer.current_replicas == Some(5) && lost(answer) == Some(0)).await;
    ready(1).await;
    fixture.wait_for("web", |answer| lost(answer) == Some(4)).await;
    ready(5).await;
    wait_for_metric(&fixture.manager, "pods_lost_total 4").await;
    eventually("the log tells it", async || {
        let log = fixture.manager.log();
        let is_told =
            |line: &String| line.contains("pods lost after the end") && line.contains(r#""pods_lost":4"#);
        if log.iter().any(is_told) { Ok(()) } else { Err(log) }
    })
    .await;
    assert_eq!(lost(&fixture.get("web").await.unwrap()), Some(4));
}
