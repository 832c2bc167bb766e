//! An admission policy that changes the counts which are written.

use anyhow::Result;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, PostParams};
use serde_json::json;

use crate::ControlPlane;

/// The count that it writes instead of greater ones.
pub const MAX_REPLICAS: i32 = 3;

/// Makes a policy that lowers counts which are written to the `scale` of workloads in a namespace, if a condition in CEL
/// is met. It takes the API server about a second to apply it. False: this API server is too old for such policies.
pub async fn create(control_plane: &ControlPlane, namespace: &str, condition: &str) -> Result<bool> {
    let admin = control_plane.admin().await?;
    let mut policy = DynamicObject::new(namespace, &policies());
    let lower = format!("[JSONPatch{{op: \"replace\", path: \"/spec/replicas\", value: {MAX_REPLICAS}}}]");
    let is_greater = format!("has(object.spec.replicas) && object.spec.replicas > {MAX_REPLICAS}");
    policy.data = json!({ "spec": {
        "failurePolicy": "Fail",
        "reinvocationPolicy": "Never",
        "matchConstraints": {
            "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } },
            "resourceRules": [{
                "apiGroups": ["apps"],
                "apiVersions": ["v1"],
                "operations": ["UPDATE"],
                "resources": ["deployments/scale", "statefulsets/scale"],
            }],
        },
        "matchConditions": [
            { "name": "greater", "expression": is_greater },
            { "name": "condition", "expression": condition },
        ],
        "mutations": [{ "patchType": "JSONPatch", "jsonPatch": { "expression": lower } }],
    } });
    match Api::all_with(admin.clone(), &policies()).create(&PostParams::default(), &policy).await {
        Err(kube::Error::Api(status)) if status.code == 404 => return Ok(false),
        created => drop(created?),
    }
    let mut binding = DynamicObject::new(namespace, &bindings());
    binding.data = json!({ "spec": { "policyName": namespace } });
    Api::all_with(admin, &bindings()).create(&PostParams::default(), &binding).await?;
    Ok(true)
}

/// Removes what [`create`] made.
pub async fn delete(control_plane: &ControlPlane, namespace: &str) -> Result<()> {
    let admin = control_plane.admin().await?;
    for kind in [bindings(), policies()] {
        let api: Api<DynamicObject> = Api::all_with(admin.clone(), &kind);
        api.delete(namespace, &DeleteParams::default()).await?;
    }
    Ok(())
}

fn policies() -> ApiResource {
    resource("MutatingAdmissionPolicy", "mutatingadmissionpolicies")
}

fn bindings() -> ApiResource {
    resource("MutatingAdmissionPolicyBinding", "mutatingadmissionpolicybindings")
}

fn resource(kind: &str, plural: &str) -> ApiResource {
    let group = "admissionregistration.k8s.io".to_owned();
    let (version, api_version) = ("v1".to_owned(), format!("{group}/v1"));
    ApiResource { group, version, api_version, kind: kind.to_owned(), plural: plural.to_owned() }
}
