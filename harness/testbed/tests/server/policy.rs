//! A policy in the API server refuses the desired count: that is said, and is not taken for a change meanwhile.

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::scene::{Scene, eventually};

/// Refuses more than 5 replicas in one namespace.
async fn limit(scene: &Scene<'_>) {
    let admin = scene.control_plane.admin().await.unwrap();
    let name = &scene.namespace;
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
        scene.deployments.patch_scale("web", &parameters, &patch).await.err().ok_or("allowed")
    })
    .await;
}

#[tokio::test]
async fn a_count_that_a_policy_refuses_is_reported_and_another_one_is_taken() {
    let mut scene = Scene::new().await;
    scene.create_managed("web", 3).await;
    limit(&scene).await;
    scene.set("web", 9).await;
    eventually("the refusal is counted", async || {
        let metrics = scene.manager.metrics().await.unwrap();
        let refused = metrics.contains("write_failures_total{reason=\"refused\"}")
            && !metrics.contains("write_failures_total{reason=\"refused\"} 0\n");
        assert!(metrics.contains("write_failures_total{reason=\"stale\"} 0\n"), "{metrics}");
        if refused { Ok(()) } else { Err(metrics) }
    })
    .await;
    assert_eq!(scene.count("web").await, Some(3));
    scene.set("web", 5).await;
    scene.until_count("web", 5).await;
}

#[tokio::test]
async fn a_failed_test_of_a_patch_looks_as_the_server_expects() {
    let scene = Scene::new().await;
    scene.create("web", 3).await;
    for test in [("/metadata/uid", json!("another")), ("/spec/replicas", json!(4))] {
        let patch = json!([{ "op": "test", "path": test.0, "value": test.1 }]);
        let patch = Patch::Json::<()>(serde_json::from_value(patch).unwrap());
        let refused = scene.deployments.patch_scale("web", &PatchParams::default(), &patch).await;
        let Err(kube::Error::Api(status)) = refused else { panic!("{refused:?}") };
        assert_eq!(status.code, 422);
        assert!(status.message.starts_with("the server rejected our request"), "{}", status.message);
    }
}
