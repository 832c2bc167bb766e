//! The HorizontalPodAutoscaler of a workload, and whether it can act.

use std::fmt::{self, Display};

use kube::api::{ApiResource, DynamicObject, GroupVersionKind, ListParams};
use kube::{Api, Client};
use serde::Deserialize;

use crate::failure::Failure;
use crate::target::{Target, kind_name};
use replica_count_client::describe::chain;

/// The condition that it can read and write the count.
const ABLE: &str = "AbleToScale";
/// The condition that it has metrics.
const ACTIVE: &str = "ScalingActive";

/// What an autoscaler may do, and does.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Autoscaler {
    name: String,
    spec: Spec,
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    scale_target_ref: Reference,
    #[serde(default = "one")]
    min_replicas: i32,
    max_replicas: i32,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Reference {
    #[serde(default)]
    api_version: String,
    kind: String,
    name: String,
}

#[derive(Clone, Debug, Default, PartialEq, Eq, Deserialize)]
struct Status {
    #[serde(default)]
    conditions: Vec<Condition>,
}

#[derive(Clone, Debug, PartialEq, Eq, Deserialize)]
struct Condition {
    r#type: String,
    status: String,
    #[serde(default)]
    reason: String,
    #[serde(default)]
    message: String,
}

/// The least count of an autoscaler that names none.
fn one() -> i32 {
    1
}

impl Autoscaler {
    /// The only one that targets a workload.
    pub(super) async fn find(client: &Client, namespace: &str, target: &Target) -> Result<Self, Failure> {
        let kind = GroupVersionKind::gvk("autoscaling", "v2", "HorizontalPodAutoscaler");
        let resource = ApiResource::from_gvk(&kind);
        let api = Api::<DynamicObject>::namespaced_with(client.clone(), namespace, &resource);
        let listed = api.list(&ListParams::default()).await.map_err(|error| {
            Failure::new(format!("the autoscalers of {namespace} cannot be listed: {}", chain(&error)))
        })?;
        let all = listed.items.into_iter().filter_map(Self::of);
        let mut found: Vec<_> = all.filter(|autoscaler| autoscaler.targets(target)).collect();
        match (found.pop(), found.pop()) {
            (Some(only), None) => Ok(only),
            (Some(one), Some(other)) => Err(Failure::new(format!(
                "two autoscalers target {target}, {other} and {one}: they would fight"
            ))
            .advise("Delete one of them.")),
            (None, _) => Err(Failure::new(format!(
                "no HorizontalPodAutoscaler targets {target} in {namespace} namespace"
            ))
            .advise(format!(
                "Create one: kubectl autoscale {}/{} -n {namespace} --min=MIN --max=MAX --cpu=80%. \
                     Until it is handed over, the count that is set here stays in force.",
                kind_name(target.kind).to_ascii_lowercase(),
                target.name
            ))),
        }
    }

    fn of(object: DynamicObject) -> Option<Self> {
        let spec = object.data.get("spec")?;
        let status = object.data.get("status").map(Status::deserialize);
        Some(Self {
            name: object.metadata.name?,
            spec: Spec::deserialize(spec).ok()?,
            conditions: status.and_then(Result::ok).unwrap_or_default().conditions,
        })
    }

    fn targets(&self, target: &Target) -> bool {
        let Reference { api_version, kind, name } = &self.spec.scale_target_ref;
        api_version.starts_with("apps/") && kind == kind_name(target.kind) && *name == target.name
    }

    /// Whether it can take over a count without changing it at once.
    pub(super) fn check(&self, namespace: &str, count: i32, allow_inactive: bool) -> Result<(), Failure> {
        let Spec { min_replicas: min, max_replicas: max, .. } = self.spec;
        if count < min || count > max {
            return Err(Failure::new(format!(
                "{self} would change {count} replicas at once: its limits are {min} to {max}"
            ))
            .advise(format!(
                "Set a count within them, or change them: kubectl edit hpa {} -n {namespace}.",
                self.name
            )));
        }
        let required = if allow_inactive { &[ABLE][..] } else { &[ABLE, ACTIVE] };
        for name in required {
            let condition = self.conditions.iter().find(|condition| condition.r#type == *name);
            let reason = match condition {
                Some(condition) if condition.status == "True" => continue,
                Some(condition) => format!("{name}: {}: {}", condition.reason, condition.message),
                None => format!("it has not said yet that it is {name}"),
            };
            let failure = Failure::new(format!("{self} cannot act: {reason}"));
            let advice = match *name {
                ACTIVE => "Nobody would adapt the count: see to its metrics, or add --allow-inactive.",
                _ => "Try again in a moment: kube-controller-manager looks at it every 15 seconds.",
            };
            return Err(failure.advise(advice));
        }
        Ok(())
    }
}

impl Display for Autoscaler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "HorizontalPodAutoscaler/{}", self.name)
    }
}

#[cfg(test)]
mod tests {
    use replica_count_api::proto::Kind;
    use serde_json::json;

    use super::*;

    fn autoscaler(spec: &serde_json::Value, active: Option<&str>) -> Autoscaler {
        let active = active.map(|status| {
            json!({ "type": ACTIVE, "status": status, "reason": "FailedGetResourceMetric", "message": "no metrics" })
        });
        let able = json!({ "type": ABLE, "status": "True" });
        let conditions: Vec<_> = [able].into_iter().chain(active).collect();
        let object = json!({
            "apiVersion": "autoscaling/v2",
            "kind": "HorizontalPodAutoscaler",
            "metadata": { "name": "web" },
            "spec": spec,
            "status": { "conditions": conditions },
        });
        Autoscaler::of(serde_json::from_value(object).unwrap()).unwrap()
    }

    #[test]
    fn what_is_in_its_way_is_named() {
        let spec = json!({
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db" },
            "minReplicas": 2,
            "maxReplicas": 4,
        });
        let refused = |count, active, allow_inactive| {
            let checked = autoscaler(&spec, active).check("shop", count, allow_inactive);
            checked.err().map(|failure| failure.message().to_owned()).unwrap_or_default()
        };
        for count in 2..=4 {
            assert_eq!(refused(count, Some("True"), false), "");
        }
        for count in [1, 5] {
            assert!(refused(count, Some("True"), true).ends_with("its limits are 2 to 4"));
        }
        assert!(refused(3, Some("False"), false).ends_with("FailedGetResourceMetric: no metrics"));
        assert!(refused(3, None, false).ends_with("it has not said yet that it is ScalingActive"));
        assert_eq!(refused(3, Some("False"), true), "");
    }

    #[test]
    fn it_targets_one_workload_of_one_kind() {
        let targeted = |reference: serde_json::Value| {
            let spec = json!({ "scaleTargetRef": reference, "maxReplicas": 4 });
            autoscaler(&spec, None).targets(&Target { kind: Kind::StatefulSet, name: "db".to_owned() })
        };
        assert!(targeted(json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db" })));
        assert!(!targeted(json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": "db" })));
        assert!(!targeted(json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "db2" })));
        assert!(!targeted(json!({ "apiVersion": "other/v1", "kind": "StatefulSet", "name": "db" })));
    }
}
