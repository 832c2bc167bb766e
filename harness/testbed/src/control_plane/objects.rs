//! Objects for tests.

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::core::v1::Namespace;
use kube::api::{Api, PostParams};
use kube::{Client, Resource};
use serde::Serialize;
use serde::de::DeserializeOwned;
use serde_json::json;

/// The field manager of objects that the testbed creates.
const FIELD_MANAGER: &str = "replica-count-testbed";

/// Creates a namespace whose name starts with `prefix`, and returns its name.
pub(super) async fn create_namespace(client: &Client, prefix: &str) -> Result<String> {
    let namespace = json!({ "metadata": { "generateName": format!("{prefix}-") } });
    let created = create::<Namespace>(&Api::all(client.clone()), namespace).await?;
    created.metadata.name.context("a created namespace has no name")
}

pub(super) async fn create_named_namespace(client: &Client, name: &str) -> Result<()> {
    ensure::<Namespace>(&Api::all(client.clone()), json!({ "metadata": { "name": name } })).await
}

/// Creates a Lease that its last holder has given up, unless there is one.
pub(super) async fn create_released_lease(client: &Client, namespace: &str, name: &str) -> Result<()> {
    let spec = json!({ "renewTime": "2026-01-01T00:00:00.000000Z" });
    let lease = json!({ "metadata": { "name": name }, "spec": spec });
    ensure::<Lease>(&Api::namespaced(client.clone(), namespace), lease).await
}

/// Creates a Deployment of the pause container.
pub(super) async fn create_deployment(
    client: &Client,
    namespace: &str,
    name: &str,
    replicas: i32,
) -> Result<()> {
    create::<Deployment>(&Api::namespaced(client.clone(), namespace), workload(name, replicas)).await?;
    Ok(())
}

/// Creates a StatefulSet of the same container, without volumes and without a Service.
pub(super) async fn create_stateful_set(
    client: &Client,
    namespace: &str,
    name: &str,
    replicas: i32,
) -> Result<()> {
    create::<StatefulSet>(&Api::namespaced(client.clone(), namespace), workload(name, replicas)).await?;
    Ok(())
}

fn workload(name: &str, replicas: i32) -> serde_json::Value {
    let labels = json!({ "app": name });
    let container = json!({ "name": "pause", "image": "registry.k8s.io/pause:3.10" });
    json!({
        "metadata": { "name": name, "labels": labels },
        "spec": {
            "replicas": replicas,
            "selector": { "matchLabels": labels },
            "template": { "metadata": { "labels": labels }, "spec": { "containers": [container] } },
        },
    })
}

/// Creates an object unless one with this name exists.
pub(crate) async fn ensure<K>(api: &Api<K>, object: serde_json::Value) -> Result<()>
where
    K: Resource + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    match create(api, object).await {
        Err(error) if is_conflict(&error) => Ok(()),
        result => result.map(drop),
    }
}

async fn create<K>(api: &Api<K>, object: serde_json::Value) -> Result<K>
where
    K: Resource + Clone + std::fmt::Debug + Serialize + DeserializeOwned,
{
    let object: K = serde_json::from_value(object).context("an object of the testbed is not valid")?;
    let params = PostParams { field_manager: Some(FIELD_MANAGER.to_owned()), ..PostParams::default() };
    Ok(api.create(&params, &object).await?)
}

fn is_conflict(error: &anyhow::Error) -> bool {
    matches!(error.downcast_ref(), Some(kube::Error::Api(status)) if status.code == 409)
}
