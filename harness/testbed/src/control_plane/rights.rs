//! The identity of the server, with exactly the rights that the chart grants.

use anyhow::{Context as _, Result};
use k8s_openapi::api::authentication::v1::{TokenRequest, TokenRequestSpec};
use k8s_openapi::api::core::v1::{Namespace, ServiceAccount};
use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::Client;
use kube::api::{Api, PostParams};
use replica_count_core::kind::Kind;
use serde_json::{Value, json};

use super::objects::ensure;

/// The name of the ServiceAccount, its role and its binding; also of its namespace if the scope is the cluster.
pub(super) const NAME: &str = "replica-count-manager";

const RBAC: &str = "rbac.authorization.k8s.io";

/// How long a token is valid: longer than any test.
const TOKEN_SECONDS: i64 = 24 * 60 * 60;

/// Where the server may read and write.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// All namespaces.
    Cluster,
    /// This namespace, for a server that runs with `--namespace`.
    Namespace(String),
}

impl Scope {
    /// The namespace of the ServiceAccount. A namespaced one lives in its own namespace, so it does not share the
    /// identity of the cluster-wide one.
    fn home(&self) -> &str {
        match self {
            Self::Cluster => NAME,
            Self::Namespace(namespace) => namespace,
        }
    }

    /// A label for file names.
    pub(super) fn label(&self) -> &str {
        match self {
            Self::Cluster => "cluster",
            Self::Namespace(namespace) => namespace,
        }
    }
}

/// Creates the ServiceAccount of `scope` with its rights. Returns a token for it.
pub(super) async fn grant(client: &Client, scope: &Scope) -> Result<String> {
    let home = scope.home();
    let accounts: Api<ServiceAccount> = Api::namespaced(client.clone(), home);
    let metadata = json!({ "metadata": { "name": NAME } });
    match scope {
        Scope::Cluster => {
            ensure::<Namespace>(&Api::all(client.clone()), metadata.clone()).await?;
            ensure::<ClusterRole>(&Api::all(client.clone()), role(scope)).await?;
            ensure::<ClusterRoleBinding>(&Api::all(client.clone()), binding("ClusterRole", home)).await?;
        }
        Scope::Namespace(namespace) => {
            ensure::<Role>(&Api::namespaced(client.clone(), namespace), role(scope)).await?;
            ensure::<RoleBinding>(&Api::namespaced(client.clone(), namespace), binding("Role", home)).await?;
        }
    }
    ensure(&accounts, metadata).await?;
    request_token(&accounts).await
}

fn role(scope: &Scope) -> Value {
    let workloads = Kind::ALL.map(Kind::resource);
    let scales = workloads.map(|resource| format!("{resource}/scale"));
    let mut rules = vec![
        json!({ "apiGroups": ["apps"], "resources": workloads, "verbs": ["get", "list", "watch"] }),
        json!({ "apiGroups": ["apps"], "resources": scales, "verbs": ["patch", "update"] }),
        json!({
            "apiGroups": ["autoscaling"],
            "resources": ["horizontalpodautoscalers"],
            "verbs": ["list", "watch"],
        }),
        json!({
            "apiGroups": ["replicacount.dev"],
            "resources": ["replicaguards"],
            "verbs": ["list", "watch", "create", "patch", "delete"],
        }),
        json!({ "apiGroups": ["events.k8s.io"], "resources": ["events"], "verbs": ["create", "patch"] }),
        json!({
            "apiGroups": ["admissionregistration.k8s.io"],
            "resources": [
                "validatingadmissionpolicies",
                "validatingadmissionpolicybindings",
                "mutatingadmissionpolicies",
                "mutatingadmissionpolicybindings",
            ],
            "verbs": ["get"],
        }),
    ];
    if *scope == Scope::Cluster {
        rules.push(json!({
            "apiGroups": ["authorization.k8s.io"],
            "resources": ["subjectaccessreviews"],
            "verbs": ["create"],
        }));
    }
    json!({ "metadata": { "name": NAME }, "rules": rules })
}

fn binding(kind: &str, home: &str) -> Value {
    json!({
        "metadata": { "name": NAME },
        "roleRef": { "apiGroup": RBAC, "kind": kind, "name": NAME },
        "subjects": [{ "kind": "ServiceAccount", "name": NAME, "namespace": home }],
    })
}

async fn request_token(accounts: &Api<ServiceAccount>) -> Result<String> {
    let spec = TokenRequestSpec { expiration_seconds: Some(TOKEN_SECONDS), ..TokenRequestSpec::default() };
    let request = TokenRequest { spec, ..TokenRequest::default() };
    let answer = accounts.create_token_request(NAME, &PostParams::default(), &request).await?;
    Ok(answer.status.context("the API server returned no token")?.token)
}
