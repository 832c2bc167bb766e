//! The server refuses exactly the names that Kubernetes refuses.

use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, PostParams};
use replica_count_api::proto::SetDeploymentRequest;
use serde_json::json;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::fixture::Fixture;

/// Whether Kubernetes would create the object.
async fn kubernetes<K>(api: &Api<K>, object: serde_json::Value) -> bool
where
    K: Clone + std::fmt::Debug + serde::Serialize + serde::de::DeserializeOwned,
{
    let parameters = PostParams { dry_run: true, ..PostParams::default() };
    match api.create(&parameters, &serde_json::from_value(object).unwrap()).await {
        Ok(_) => true,
        Err(kube::Error::Api(status)) if status.code == 422 => false,
        Err(error) => panic!("{error}"),
    }
}

/// Whether the server accepts the names. If not, checks that it blames `field`.
async fn accepts(fixture: &Fixture<'_>, namespace: &str, name: &str, field: &str) -> bool {
    let request = SetDeploymentRequest {
        name: name.to_owned(),
        namespace: namespace.to_owned(),
        replicas: Some(1),
        allow_missing: true,
        dry_run: true,
        ..SetDeploymentRequest::default()
    };
    let Err(status) = fixture.client.clone().set_deployment(request).await else { return true };
    assert_eq!(status.code(), Code::InvalidArgument, "{status}");
    let violations = status.get_details_bad_request().unwrap().field_violations;
    assert_eq!(violations.iter().map(|violation| violation.field.as_str()).collect::<Vec<_>>(), [field]);
    false
}

#[tokio::test]
async fn kubernetes_and_the_server_agree_on_names() {
    let fixture = Fixture::new().await;
    let namespaces: Api<Namespace> = Api::all(fixture.control_plane.admin().await.unwrap());
    let template = json!({
        "metadata": { "labels": { "app": "web" } },
        "spec": { "containers": [{ "name": "pause", "image": "pause" }] },
    });
    let long = |length| "a".repeat(length);
    let lengths = [62, 63, 64, 252, 253, 254].map(long);
    let names = [
        "a", "0", "web", "my-web-1", "a--b", "web.v1", "1.2.3", "", " ", "A", "Web", "-a", "a-", "a_b", ".a",
        "a.", "a..b", "a.-b", "a-.b", "a/b", "a b", "a\n", "ä", "ａ", "../../x", "a:b", "*", "%61",
    ];
    for name in names.into_iter().chain(lengths.iter().map(String::as_str)) {
        let deployment = json!({
            "metadata": { "name": name },
            "spec": { "selector": { "matchLabels": { "app": "web" } }, "template": template },
        });
        let expected = kubernetes(&fixture.deployments, deployment).await;
        assert_eq!(
            accepts(&fixture, &fixture.namespace, name, "Name").await,
            expected,
            "Deployment {name:?}"
        );
        let expected = kubernetes(&namespaces, json!({ "metadata": { "name": name } })).await;
        assert_eq!(accepts(&fixture, name, "web", "Namespace").await, expected, "Namespace {name:?}");
    }
}
