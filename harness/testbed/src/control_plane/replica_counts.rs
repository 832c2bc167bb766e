//! ReplicaCounts: their definition, from the chart's own file, and the rights that a server needs to keep settings in
//! them.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::Client;
use kube::api::{Api, ApiResource, DynamicObject, GroupVersionKind, ListParams};
use serde_json::json;
use tokio::time::{self, Instant};

use super::guard::{create, is_unknown_kind};
use super::objects::ensure;
use super::rights::NAME;
use crate::workspace;

const FILE: &str = "charts/replica-count-manager/files/crd/replicacounts.yaml";
const ROLE: &str = "replica-count-manager-store";
const LEASE_ROLE: &str = "replica-count-manager-lease";
const AUTHORS: &str = "charts/replica-count-manager/files/authors";
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

/// Gives the same server the rights on one Lease that the chart gives it.
pub(super) async fn grant_lease(client: &Client, namespace: &str, name: &str) -> Result<()> {
    let group = "coordination.k8s.io";
    let role = json!({
        "metadata": { "name": LEASE_ROLE },
        "rules": [
            { "apiGroups": [group], "resources": ["leases"], "verbs": ["list", "watch", "create"] },
            { "apiGroups": [group], "resources": ["leases"], "resourceNames": [name], "verbs": ["get", "patch"] },
        ],
    });
    let binding = json!({
        "metadata": { "name": LEASE_ROLE },
        "roleRef": { "apiGroup": RBAC, "kind": "Role", "name": LEASE_ROLE },
        "subjects": [{ "kind": "ServiceAccount", "name": NAME, "namespace": NAME }],
    });
    ensure::<Role>(&Api::namespaced(client.clone(), namespace), role).await?;
    ensure::<RoleBinding>(&Api::namespaced(client.clone(), namespace), binding).await
}

/// Installs the policy of the chart that writes, or keeps others from writing, who has set a count. Returns whether
/// this API server knows such policies.
pub(super) async fn install_author_policy(client: &Client, policy: &str, name: &str) -> Result<bool> {
    let path = workspace::root()?.join(AUTHORS).join(policy).with_extension("yaml");
    let text = fs::read_to_string(&path).with_context(|| format!("cannot read {}", path.display()))?;
    let text = text
        .replace("AUTHORS_NAME", name)
        .replace("TRUSTED_USERS", &format!("['system:serviceaccount:{NAME}:{NAME}']"));
    for document in text.split("\n---\n") {
        let object = serde_saphyr::from_str(document)
            .with_context(|| format!("{} is not valid YAML", path.display()))?;
        match create(client, object).await {
            Err(error) if is_unknown_kind(&error) => return Ok(false),
            created => created?,
        }
    }
    Ok(true)
}
