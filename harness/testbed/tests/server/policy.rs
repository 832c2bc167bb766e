//! An admission policy refuses the desired count: the server reports a refusal, not a concurrent change.

use k8s_openapi::api::admissionregistration::v1::{
    ValidatingAdmissionPolicy, ValidatingAdmissionPolicyBinding,
};
use kube::api::{Api, Patch, PatchParams, PostParams};
use serde_json::json;

use crate::fixture::{Fixture, eventually};

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

#[tokio::test]
async fn a_count_refused_by_a_policy_is_reported_and_another_one_works() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    limit(&fixture).await;
    fixture.set("web", 9).await;
    eventually("the refusal is counted", async || {
        let metrics = fixture.manager.metrics().await.unwrap();
        let refused = metrics.contains("write_failures_total{reason=\"refused\"}")
            && !metrics.contains("write_failures_total{reason=\"refused\"} 0\n");
        assert!(metrics.contains("write_failures_total{reason=\"stale\"} 0\n"), "{metrics}");
        if refused { Ok(()) } else { Err(metrics) }
    })
    .await;
    assert_eq!(fixture.count("web").await, Some(3));
    fixture.set("web", 5).await;
    fixture.wait_for_count("web", 5).await;
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
