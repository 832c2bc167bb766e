//! Admission policies and webhooks deny, delay or change what the server writes. It says so, and believes an answer only
//! for the count in it.

use std::time::Duration;

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::api::{Api, Patch, PatchParams, PostParams};
use replica_count_api::proto::{self, DeploymentState};
use replica_count_testbed::webhook::{self, Verdict};
use replica_count_testbed::{Webhook, policy};
use serde_json::json;

use crate::fixture::{Fixture, SOMEBODY, eventually};

/// Refuses more than 5 replicas in one namespace.
async fn limit(fixture: &Fixture<'_>) {
    let admin = fixture.control_plane.admin().await.unwrap();
    let name = &fixture.namespace;
    let policy: ValidatingAdmissionPolicy = serde_json::from_value(json!({
        "metadata": { "name": name },
        "spec": {
            "matchConstraints": {
                "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": name } },
                "resourceRules": [{
                    "apiGroups": ["apps"],
                    "apiVersions": ["v1"],
                    "operations": ["UPDATE"],
                    "resources": ["deployments/scale"],
                }],
            },
            "validations": [{ "expression": "!has(object.spec.replicas) || object.spec.replicas <= 5" }],
        },
    }))
    .unwrap();
    Api::all(admin.clone()).create(&PostParams::default(), &policy).await.unwrap();
    let binding: ValidatingAdmissionPolicyBinding = serde_json::from_value(json!({
        "metadata": { "name": name },
        "spec": { "policyName": name, "validationActions": ["Deny"] },
    }))
    .unwrap();
    Api::all(admin).create(&PostParams::default(), &binding).await.unwrap();
    eventually("the policy is in force", async || {
        let patch = Patch::Merge(json!({ "spec": { "replicas": 9 } }));
        let parameters = PatchParams { dry_run: true, ..PatchParams::default() };
        fixture.deployments.patch_scale("web", &parameters, &patch).await.err().ok_or("allowed")
    })
    .await;
}

/// Expects the last failure of `web` to have this reason and status, and these words in its message. It is the same in
/// Get and List.
async fn check_failure(
    fixture: &mut Fixture<'_>,
    reason: &str,
    code: Option<i32>,
    words: &str,
) -> proto::Failure {
    let is_expected = |failure: &proto::Failure| (failure.reason.as_str(), failure.code) == (reason, code);
    let answer =
        fixture.wait_for("web", |answer| answer.last_failure.as_ref().is_some_and(is_expected)).await;
    assert_eq!(answer.state(), DeploymentState::Drifted);
    let failure = answer.last_failure.unwrap();
    assert!(failure.message.contains(words), "{failure:?}");
    assert!(failure.attempts > 0 && failure.since.is_some() && failure.next_try.is_some(), "{failure:?}");
    let rows = fixture.managed_rows().await;
    let row = rows[0].last_failure.clone().unwrap();
    assert_eq!((row.reason.as_str(), row.code, row.since), (reason, code, failure.since), "{row:?}");
    let metrics = fixture.manager.metrics().await.unwrap();
    let counted = format!("write_failures_total{{reason=\"{reason}\"}} 0\n");
    assert!(!metrics.contains(&counted), "{metrics}");
    assert!(metrics.contains("write_failures_total{reason=\"stale\"} 0\n"), "{metrics}");
    failure
}

/// Expects the desired count to be in effect, and no failure to be shown any more.
async fn check_in_effect(fixture: &mut Fixture<'_>, count: i32) {
    fixture.wait_for_count("web", count).await;
    let answer = fixture.wait_for("web", |answer| answer.state() == DeploymentState::InSync).await;
    assert_eq!(answer.last_failure, None);
}

#[tokio::test]
async fn a_count_denied_by_a_policy_is_reported_and_another_one_works() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    limit(&fixture).await;
    fixture.set("web", 9).await;
    check_failure(&mut fixture, "denied", Some(422), "ValidatingAdmissionPolicy").await;
    assert_eq!(fixture.count("web").await, Some(3));
    fixture.set("web", 5).await;
    check_in_effect(&mut fixture, 5).await;
}

#[tokio::test]
async fn a_count_denied_by_a_webhook_is_reported_whatever_its_status() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    let webhook = Webhook::start(fixture.control_plane).await.unwrap();
    webhook.answer(Verdict::Deny(404));
    webhook.register(fixture.control_plane, &fixture.namespace, webhook::ALL).await.unwrap();
    fixture.wait_until_refused("web").await;
    for (code, count) in [(404, 4), (409, 5), (403, 6)] {
        webhook.answer(Verdict::Deny(code));
        fixture.set("web", count).await;
        check_failure(&mut fixture, "denied", Some(code.into()), "not today").await;
    }
    webhook.answer(Verdict::Allow);
    check_in_effect(&mut fixture, 6).await;
    Webhook::unregister(fixture.control_plane, &fixture.namespace).await.unwrap();
}

#[tokio::test]
async fn a_slow_webhook_gets_more_time() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    let webhook = Webhook::start(fixture.control_plane).await.unwrap();
    webhook.register(fixture.control_plane, &fixture.namespace, webhook::ALL).await.unwrap();
    webhook.answer(Verdict::Deny(403));
    fixture.wait_until_refused("web").await;
    webhook.answer(Verdict::AllowAfter(Duration::from_secs(6)));
    fixture.set("web", 4).await;
    check_failure(&mut fixture, "timed_out", Some(504), "did not complete").await;
    check_in_effect(&mut fixture, 4).await;
    // The next write gets as much time at once.
    fixture.set("web", 5).await;
    check_in_effect(&mut fixture, 5).await;
    let metrics = fixture.manager.metrics().await.unwrap();
    assert!(metrics.contains("write_failures_total{reason=\"timed_out\"} 1\n"), "{metrics}");
    Webhook::unregister(fixture.control_plane, &fixture.namespace).await.unwrap();
}

#[tokio::test]
async fn a_count_changed_by_a_policy_is_no_repair_and_is_tried_again_by_the_clock() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 4).await;
    // A write that is seen in effect, so that a count which the server did not write could be another server's.
    fixture.set("web", 5).await;
    check_in_effect(&mut fixture, 5).await;
    if !policy::create(fixture.control_plane, &fixture.namespace, "true").await.unwrap() {
        println!("this API server has no MutatingAdmissionPolicy: not tested");
        return;
    }
    eventually("the policy is in force", async || {
        let patch = Patch::Merge(json!({ "spec": { "replicas": 9 } }));
        let parameters = PatchParams { dry_run: true, ..PatchParams::default() };
        let scale = fixture.deployments.patch_scale("web", &parameters, &patch).await.unwrap();
        let replicas = scale.spec.unwrap().replicas;
        if replicas == Some(policy::MAX_REPLICAS) { Ok(()) } else { Err(replicas) }
    })
    .await;
    fixture.scale("web", 1).await;
    let failure = check_failure(&mut fixture, "altered", Some(200), "admission changed 5 to 3").await;
    let answer = fixture
        .wait_for("web", |answer| {
            answer.last_failure.as_ref().is_some_and(|last| last.attempts > failure.attempts)
        })
        .await;
    assert_eq!((answer.current_replicas, answer.drift_count), (Some(3), 1), "{answer:?}");
    assert_eq!(answer.last_drift.unwrap().by, SOMEBODY);
    let metrics = fixture.manager.metrics().await.unwrap();
    assert!(metrics.contains("replica_count_manager_repairs_total 0\n"), "{metrics}");
    assert!(metrics.contains("replica_count_manager_another_server_drifts_total 0\n"), "{metrics}");
    let log = fixture.manager.log();
    assert!(!log.iter().any(|line| line.contains("repaired")), "{log:#?}");
    let warnings = log.iter().filter(|line| line.contains("write failed") && line.contains("WARN")).count();
    assert_eq!(warnings, 1, "{log:#?}");

    // Nothing happens in the cluster when the policy goes.
    policy::delete(fixture.control_plane, &fixture.namespace).await.unwrap();
    check_in_effect(&mut fixture, 5).await;
    let metrics = fixture.manager.metrics().await.unwrap();
    assert!(metrics.contains("replica_count_manager_repairs_total 1\n"), "{metrics}");
}

#[tokio::test]
async fn a_failed_patch_test_looks_as_the_server_expects() {
    let fixture = Fixture::new().await;
    fixture.create("web", 3).await;
    for test in [("/metadata/uid", json!("another")), ("/spec/replicas", json!(4))] {
        let patch = json!([{ "op": "test", "path": test.0, "value": test.1 }]);
        let patch = Patch::Json::<()>(serde_json::from_value(patch).unwrap());
        let refused = fixture.deployments.patch_scale("web", &PatchParams::default(), &patch).await;
        let Err(kube::Error::Api(status)) = refused else { panic!("{refused:?}") };
        assert_eq!(status.code, 422);
        assert!(status.message.starts_with("the server rejected our request"), "{}", status.message);
    }
}
