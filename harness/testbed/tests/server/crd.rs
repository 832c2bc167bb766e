//! `--store=crd`: settings are ReplicaCounts, objects of the API server.

mod authors;
mod definition;
mod election;
mod faults;
mod history;
mod rules;
mod status;
mod transfer;
mod writes;

use k8s_openapi::api::coordination::v1::Lease;
use kube::api::{Api, DeleteParams, DynamicObject, Patch, PatchParams, PostParams};
use replica_count_testbed::control_plane::Scope;
use replica_count_testbed::{ControlPlane, manager};
use serde_json::{Value, json};

use crate::fixture::{Fixture, SOMEBODY, eventually, options, shared};

/// The name of the Lease.
const LEASE: &str = "manager";

/// A server that keeps its settings in ReplicaCounts, on the shared control plane.
pub(crate) async fn with_crd(arguments: &[&str]) -> Fixture<'static> {
    let control_plane = shared().await;
    on(control_plane, arguments).await
}

/// The same on a given control plane. Each server has a namespace of its own, or they would all keep the same statuses.
async fn on<'a>(control_plane: &'a ControlPlane, arguments: &[&str]) -> Fixture<'a> {
    control_plane.install_replica_counts().await.unwrap();
    let namespace = control_plane.namespace("crd").await.unwrap();
    let options = options(control_plane, &Scope::Cluster, arguments).await;
    let options = in_namespace(control_plane, options, &namespace).await;
    Fixture::start(control_plane, namespace, options).await
}

/// Servers of one namespace have an election of their own. Nobody has to wait for a first holder.
async fn in_namespace(
    control_plane: &ControlPlane,
    options: manager::Options,
    namespace: &str,
) -> manager::Options {
    control_plane.create_released_lease(namespace, LEASE).await.unwrap();
    let flags =
        ["--store", "crd", "--namespace", namespace, "--lease-namespace", namespace, "--lease-name", LEASE];
    flags.into_iter().fold(options, manager::Options::argument)
}

impl Fixture<'_> {
    async fn objects(&self) -> Api<DynamicObject> {
        self.control_plane.replica_counts(&self.namespace).await.unwrap()
    }

    pub(crate) async fn object(&self, name: &str) -> Option<DynamicObject> {
        self.objects().await.get_opt(name).await.unwrap()
    }

    /// Creates a ReplicaCount as kubectl does. The error is what the API server says.
    pub(crate) async fn create_object(&self, name: &str, spec: Value) -> Result<(), String> {
        let object = json!({
            "apiVersion": "replicacount.dev/v1alpha1",
            "kind": "ReplicaCount",
            "metadata": { "name": name },
            "spec": spec,
        });
        let parameters = PostParams { field_manager: Some(SOMEBODY.to_owned()), ..PostParams::default() };
        let created =
            self.objects().await.create(&parameters, &serde_json::from_value(object).unwrap()).await;
        created.map(drop).map_err(|error| error.to_string())
    }

    /// Whom the Lease names.
    async fn holder(&self) -> String {
        let client = self.control_plane.admin().await.unwrap();
        let leases: Api<Lease> = Api::namespaced(client, &self.namespace);
        leases.get(LEASE).await.unwrap().spec.unwrap().holder_identity.unwrap()
    }

    async fn patch_object(&self, name: &str, spec: Value) -> Result<DynamicObject, String> {
        let parameters = PatchParams { field_manager: Some(SOMEBODY.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(json!({ "spec": spec }));
        let patched = self.objects().await.patch(name, &parameters, &patch).await;
        patched.map_err(|error| error.to_string())
    }

    async fn delete_object(&self, name: &str) {
        self.objects().await.delete(name, &DeleteParams::default()).await.unwrap();
    }

    /// Waits until the status of an object has a condition with this status and reason; returns its message.
    pub(crate) async fn wait_for_condition(
        &self,
        name: &str,
        condition: &str,
        status: &str,
        reason: &str,
    ) -> String {
        eventually(&format!("{condition} of {name} is {status}: {reason}"), async || {
            let object = self.object(name).await.ok_or_else(|| "it does not exist".to_owned())?;
            let conditions = object.data["status"]["conditions"].as_array().cloned().unwrap_or_default();
            let found = conditions.iter().find(|found| found["type"] == condition);
            match found {
                Some(found) if found["status"] == status && found["reason"] == reason => {
                    Ok(found["message"].as_str().unwrap_or_default().to_owned())
                }
                _ => Err(object.data["status"].to_string()),
            }
        })
        .await
    }
}
