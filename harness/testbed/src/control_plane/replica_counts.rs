//! ReplicaCounts: their definition, from the chart's own file, and the rights that a server needs to keep settings in
//! them.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};
use serde_json::json;
use tokio::time::{self, Instant};

use super::objects::ensure;
use super::rights::NAME;
use crate::workspace;

const FILE: &str = "charts/replica-count-manager/files/crd/replicacounts.yaml";
const ROLE: &str = "replica-count-manager-store";
const RBAC: &str = "rbac.authorization.k8s.io";

const ESTABLISHED_DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// The kind of ReplicaCounts.
pub(super) fn kind() -> ApiResource {
    ApiResource::from_gvk(&GroupVersionKind::gvk("replicacount.dev", "v1alpha1", "ReplicaCount"))
}

/// Installs the definition, unless it is there, and waits until the API server serves it.
pub(super) async fn install(client: &Client) -> Result<()> {
    let path = workspace::root()?.join(FILE);
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let definition = serde_saphyr::from_str(&text).with_context(|| format!("{FILE} is not valid YAML"))?;
    ensure::<CustomResourceDefinition>(&Api::all(client.clone()), definition).await?;
    let objects: Api<DynamicObject> = Api::all_with(client.clone(), &kind());
    let deadline = Instant::now() + ESTABLISHED_DEADLINE;
    while let Err(error) = objects.list(&ListParams::default()).await {
        if Instant::now() >= deadline {
            bail!("ReplicaCounts were not served within {ESTABLISHED_DEADLINE:?}: {error}");
        }
        time::sleep(POLL).await;
    }
    Ok(())
}

/// Gives the server of the whole cluster the rights that the chart gives it with this store.
pub(super) async fn grant(client: &Client) -> Result<()> {
    let role = json!({
        "metadata": { "name": ROLE },
        "rules": [
            {
                "apiGroups": ["replicacount.dev"],
                "resources": ["replicacounts"],
                "verbs": ["get", "list", "watch", "create", "patch", "delete"],
            },
            { "apiGroups": ["replicacount.dev"], "resources": ["replicacounts/status"], "verbs": ["patch"] },
            {
                "apiGroups": ["coordination.k8s.io"],
                "resources": ["leases"],
                "verbs": ["get", "list", "watch", "create", "patch"],
            },
        ],
    });
    let binding = json!({
        "metadata": { "name": ROLE },
        "roleRef": { "apiGroup": RBAC, "kind": "ClusterRole", "name": ROLE },
        "subjects": [{ "kind": "ServiceAccount", "name": NAME, "namespace": NAME }],
    });
    ensure::<ClusterRole>(&Api::all(client.clone()), role).await?;
    ensure::<ClusterRoleBinding>(&Api::all(client.clone()), binding).await
}
