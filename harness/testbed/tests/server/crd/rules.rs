//! Objects that break a rule: of the definition, or one that only the server knows.

use replica_count_api::proto::{self, DeploymentState};
use replica_count_testbed::control_plane::Scope;
use serde_json::{Value, json};
use tonic::Code;
use tonic_types::StatusExt as _;

use super::{LEASE, with_crd};
use crate::fixture::{Fixture, eventually, options, own};

#[tokio::test]
async fn the_api_server_refuses_what_the_definition_forbids() {
    let fixture = with_crd(&[]).await;
    let check = async |spec: Value, expected: &str| {
        let refused = fixture.create_object("web", spec.clone()).await.expect_err(expected);
        assert!(refused.contains(expected), "{spec}: {refused}");
    };
    check(json!({ "replicas": -1 }), "spec.replicas").await;
    check(json!({ "replicas": 3_000_000_000_i64 }), "spec.replicas").await;
    check(json!({}), "spec.replicas: Required value").await;
    check(json!({ "replicas": 1, "target": { "kind": "DaemonSet" } }), "spec.target.kind").await;
    check(json!({ "replicas": 1, "enforcement": "Maybe" }), "spec.enforcement").await;
    check(json!({ "replicas": 1, "reason": "a".repeat(1025) }), "spec.reason").await;
    check(json!({ "replicas": 1, "temporary": { "replicas": 2 } }), "spec.temporary.until").await;
    check(json!({ "reason": "sale" }), "set replicas, or temporary for a count that ends by itself").await;
    let until = "2026-01-01T00:00:00Z";
    let expected = "set enforcement to Ignore, or remove enforcementUntil";
    check(json!({ "replicas": 1, "enforcementUntil": until }), expected).await;
    check(json!({ "replicas": 1, "enforcement": "Enforce", "enforcementUntil": until }), expected).await;

    let ignored = json!({ "replicas": 1, "enforcement": "Ignore", "enforcementUntil": until });
    fixture.create_object("web", ignored).await.unwrap();
    let moved = fixture.patch_object("web", json!({ "target": { "name": "api" } })).await.unwrap_err();
    assert!(moved.contains("spec.target cannot change"), "{moved}");
    // The same workload, only written out.
    fixture.patch_object("web", json!({ "target": { "kind": "Deployment", "name": "web" } })).await.unwrap();
}

#[tokio::test]
async fn the_older_of_two_objects_counts() {
    let fixture = with_crd(&[]).await;
    fixture.create("web", 1).await;
    fixture.create_object("zz", json!({ "target": { "name": "web" }, "replicas": 2 })).await.unwrap();
    fixture.wait_for_count("web", 2).await;
    // Times of objects are in whole seconds.
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    fixture.create_object("aa", json!({ "target": { "name": "web" }, "replicas": 5 })).await.unwrap();
    let message = fixture.wait_for_condition("aa", "InEffect", "False", "Superseded").await;
    assert!(message.contains("ReplicaCount zz"), "{message}");
    eventually("the older one names the newer one", async || {
        let message = fixture.wait_for_condition("zz", "Enforced", "True", "Enforced").await;
        if message.ends_with("without effect: aa") { Ok(()) } else { Err(message) }
    })
    .await;
    assert_eq!(fixture.count("web").await, Some(2));

    fixture.delete_object("zz").await;
    fixture.wait_for_count("web", 5).await;
    fixture.wait_for_condition("aa", "InEffect", "True", "InSync").await;
}

#[tokio::test]
async fn delete_removes_all_objects_of_a_target() {
    let mut fixture = with_crd(&[]).await;
    fixture.create("web", 1).await;
    fixture.create_object("zz", json!({ "target": { "name": "web" }, "replicas": 2 })).await.unwrap();
    fixture.wait_for_count("web", 2).await;
    tokio::time::sleep(std::time::Duration::from_millis(1100)).await;
    fixture.create_object("aa", json!({ "target": { "name": "web" }, "replicas": 5 })).await.unwrap();
    fixture.wait_for_condition("aa", "InEffect", "False", "Superseded").await;
    fixture.delete_setting("web").await;
    assert!(fixture.object("aa").await.is_none() && fixture.object("zz").await.is_none());
    assert_eq!(fixture.count("web").await, Some(2));
}

#[tokio::test]
async fn what_only_the_server_knows_is_told_in_a_condition() {
    let mut fixture = with_crd(&["--max-replicas", "10"]).await;
    fixture.create("web", 1).await;
    fixture.create_object("web", json!({ "replicas": 11 })).await.unwrap();
    for condition in ["InEffect", "Enforced"] {
        let message = fixture.wait_for_condition("web", condition, "False", "AboveMaximum").await;
        assert!(message.contains("11") && message.contains("--max-replicas"), "{message}");
    }
    let read = fixture.get("web").await.unwrap();
    assert_eq!((read.state(), fixture.count("web").await), (DeploymentState::Unsupported, Some(1)));
    assert!(read.state_reason.contains("--max-replicas"), "{read:?}");
    // A new count replaces it.
    fixture.set("web", 4).await;
    fixture.wait_for_count("web", 4).await;
    fixture.wait_for_condition("web", "Enforced", "True", "Enforced").await;

    let temporary = json!({ "replicas": 1001, "until": "2036-01-01T00:00:00Z" });
    fixture.patch_object("web", json!({ "replicas": 5, "temporary": temporary })).await.unwrap();
    fixture.wait_for_condition("web", "Enforced", "False", "AboveMaximum").await;
    assert_eq!(fixture.count("web").await, Some(4));
    fixture.set("web", 5).await;
    fixture.wait_for_count("web", 5).await;
    assert!(fixture.object("web").await.unwrap().data["spec"].get("temporary").is_none());
}

#[tokio::test]
async fn an_excluded_namespace_and_the_own_workload_are_not_enforced() {
    let control_plane = &own().await;
    let excluded = control_plane.namespace("excluded").await.unwrap();
    for (flag, value, words) in [
        ("--exclude-namespaces", excluded.clone(), "is excluded"),
        ("--own-workload", format!("{excluded}/web"), "it never manages"),
    ] {
        control_plane.install_replica_counts().await.unwrap();
        control_plane.create_released_lease(&excluded, LEASE).await.unwrap();
        let lease = ["--lease-namespace", &excluded, "--lease-name", LEASE];
        let arguments = [&["--store", "crd", flag, &value], &lease[..]].concat();
        let options = options(control_plane, &Scope::Cluster, &arguments).await;
        let mut fixture = Fixture::start(control_plane, excluded.clone(), options).await;
        if fixture.object("web").await.is_none() {
            fixture.create("web", 1).await;
            fixture.create_object("web", json!({ "replicas": 3 })).await.unwrap();
        }
        eventually("the condition says why", async || {
            let message = fixture.wait_for_condition("web", "Enforced", "False", "OutOfScope").await;
            if message.contains(words) { Ok(()) } else { Err(message) }
        })
        .await;
        assert_eq!(fixture.count("web").await, Some(1));
        let request = proto::SetDeploymentRequest {
            namespace: "no-such-namespace".to_owned(),
            allow_missing: true,
            ..fixture.set_request("web", 1)
        };
        let refused = fixture.client.set_deployment(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::NotFound, "{refused:?}");
        assert_eq!(refused.get_details_error_info().unwrap().reason, "NAMESPACE_NOT_FOUND");
    }
}
