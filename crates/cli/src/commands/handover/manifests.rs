//! Whether manifests still have the count of a workload, as far as the cluster shows that.
//!
//! `kubectl apply` compares with the manifest before: where that had a count and the new one has none, the count is
//! removed, which makes it 1 (kubernetes/kubernetes#25238). A server-side apply does the same if nobody else owns the count.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::{ManagedFieldsEntry, ObjectMeta};
use kube::api::{ApiResource, DynamicObject, GroupVersionKind};
use kube::{Api, Client};
use serde_json::Value;

use super::autoscaler::Autoscaler;
use crate::failure::Failure;
use crate::target::{Target, kind_name};
use replica_count_client::describe::chain;

/// The annotation that has the manifest before.
const LAST_APPLIED: &str = "kubectl.kubernetes.io/last-applied-configuration";

/// What is known of the manifests of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Manifests {
    /// The manifest of the last `kubectl apply` has a count.
    last_applied: bool,
    /// Who has the count by server-side apply.
    appliers: Vec<String>,
    /// Nobody has it but them.
    only_applied: bool,
}

impl Manifests {
    /// Reads what the workload says about them.
    pub(super) async fn read(client: &Client, namespace: &str, target: &Target) -> Result<Self, Failure> {
        let resource = ApiResource::from_gvk(&GroupVersionKind::gvk("apps", "v1", kind_name(target.kind)));
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
        let object = api.get_metadata(&target.name).await;
        let object =
            object.map_err(|error| Failure::new(format!("{target} cannot be read: {}", chain(&error))))?;
        Ok(Self::of(&object.metadata))
    }

    fn of(metadata: &ObjectMeta) -> Self {
        let annotation = metadata.annotations.as_ref().and_then(|annotations| annotations.get(LAST_APPLIED));
        let last: Value = annotation.and_then(|text| serde_json::from_str(text).ok()).unwrap_or_default();
        let owners = metadata.managed_fields.iter().flatten().filter(|entry| has_count(entry));
        let (applied, updated): (Vec<_>, Vec<_>) =
            owners.partition(|entry| entry.operation.as_deref() == Some("Apply"));
        Self {
            last_applied: last.pointer("/spec/replicas").is_some(),
            only_applied: updated.is_empty() && !applied.is_empty(),
            appliers: applied.iter().filter_map(|entry| entry.manager.clone()).collect(),
        }
    }

    /// Whether a manifest without a count can be applied before the autoscaler has changed the count.
    pub(super) fn check(&self, namespace: &str, target: &Target, allowed: bool) -> Result<(), Failure> {
        if allowed || !self.last_applied {
            return Ok(());
        }
        let workload = format!("{}/{}", kind_name(target.kind).to_ascii_lowercase(), target.name);
        Err(Failure::new(format!(
            "the last applied manifest of {target} has a count: `kubectl apply` without one would set it to 1"
        ))
        .advise(format!(
            "Take the count out of it (delete the line with replicas), and try again:\n  \
             kubectl apply edit-last-applied {workload} -n {namespace}\n\
             Or accept it with --allow-last-applied. {target} is still managed."
        )))
    }

    /// What a handover does not prevent.
    pub(super) fn limits(&self, autoscaler: &Autoscaler) -> String {
        let applied = match (self.appliers.as_slice(), self.only_applied) {
            ([], _) => String::new(),
            (appliers, false) => format!(" {} by server-side apply: leave it out there, too.", has(appliers)),
            (appliers, true) => format!(
                " {} by server-side apply, and nobody else does: if it is left out there before {autoscaler} has \
                 changed it once, it becomes 1.",
                has(appliers)
            ),
        };
        format!(
            "note: leave replicas out of its manifests from now on: a manifest that has a count still sets it, until \
             {autoscaler} acts.{applied} While {autoscaler} has no metrics or is gone, nobody puts the count back."
        )
    }
}

/// The beginning of a sentence about who has the count.
fn has(appliers: &[String]) -> String {
    let verb = if appliers.len() == 1 { "has" } else { "have" };
    format!("{} {verb} the count", appliers.join(" and "))
}

fn has_count(entry: &ManagedFieldsEntry) -> bool {
    entry.fields_v1.as_ref().is_some_and(|fields| fields.0.pointer("/f:spec/f:replicas").is_some())
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    fn manifests(last: Option<&str>, owners: &[(&str, &str)]) -> Manifests {
        let owners = owners.iter().map(|(manager, operation)| {
            json!({ "manager": manager, "operation": operation, "fieldsV1": { "f:spec": { "f:replicas": {} } } })
        });
        let other =
            json!({ "manager": "other", "operation": "Apply", "fieldsV1": { "f:spec": { "f:paused": {} } } });
        let annotations = last.map(|last| json!({ LAST_APPLIED: last }));
        let metadata = json!({
            "annotations": annotations,
            "managedFields": owners.chain([other]).collect::<Vec<_>>(),
        });
        Manifests::of(&serde_json::from_value(metadata).unwrap())
    }

    #[test]
    fn a_count_in_the_last_manifest_is_seen() {
        let seen = |last| manifests(last, &[]).last_applied;
        assert!(seen(Some(r#"{"spec":{"replicas":3}}"#)));
        for last in [None, Some(r#"{"spec":{"paused":true}}"#), Some("{"), Some("")] {
            assert!(!seen(last), "{last:?}");
        }
    }

    #[test]
    fn those_who_apply_the_count_are_named() {
        let found = |owners: &[_]| {
            let found = manifests(None, owners);
            (found.appliers, found.only_applied)
        };
        let flux = || vec!["flux".to_owned()];
        assert_eq!(found(&[]), (vec![], false));
        assert_eq!(found(&[("kubectl", "Update")]), (vec![], false));
        assert_eq!(found(&[("flux", "Apply")]), (flux(), true));
        assert_eq!(found(&[("flux", "Apply"), ("replica-count-manager", "Update")]), (flux(), false));
    }
}
