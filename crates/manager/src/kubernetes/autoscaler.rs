//! Reads autoscalers: which workload each one targets, and its name for people.
//!
//! KEDA and others scale through a HorizontalPodAutoscaler that they own, so this one kind covers them all.

use std::mem;

use replica_count_core::autoscalers::Autoscaler;
use replica_count_core::kind::Kind;
use replica_count_core::target::Target;
use replica_count_wire::messages;
use serde::Deserialize;

use super::malformed::MalformedObject;
use super::metadata::Metadata;
use super::watch::Object;

/// The kind, for the log.
const KIND: &str = "HorizontalPodAutoscaler";

/// A HorizontalPodAutoscaler with the few fields that this server needs.
#[derive(Clone, Debug, Deserialize)]
#[serde(from = "JsonAutoscaler")]
pub struct HorizontalPodAutoscaler {
    metadata: Metadata,
    owner: Option<Owner>,
    scale_target_ref: ScaleTargetRef,
}

/// The fields that are parsed from JSON.
#[derive(Deserialize)]
struct JsonAutoscaler {
    metadata: JsonMetadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct JsonMetadata {
    namespace: Option<String>,
    name: Option<String>,
    uid: Option<String>,
    resource_version: Option<String>,
    #[serde(default)]
    owner_references: Vec<Owner>,
}

/// The owner, which created it and would re-create it.
#[derive(Clone, Debug, Deserialize)]
struct Owner {
    kind: String,
    name: String,
    #[serde(default)]
    controller: bool,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct Spec {
    #[serde(default)]
    scale_target_ref: ScaleTargetRef,
}

/// The workload that it scales.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScaleTargetRef {
    #[serde(default)]
    api_version: String,
    #[serde(default)]
    kind: String,
    #[serde(default)]
    name: String,
}

impl HorizontalPodAutoscaler {
    /// Converts it to its uid and an [`Autoscaler`]. `None`: it targets no workload of a known kind.
    pub fn into_autoscaler(self) -> Result<(String, Option<Autoscaler>), MalformedObject> {
        let Metadata { namespace, name, uid, .. } = self.metadata;
        let (namespace, name) = (namespace.unwrap_or_default(), name.unwrap_or_default());
        let Some(uid) = uid else {
            let reason = "has no uid".to_owned();
            return Err(MalformedObject { kind: KIND, namespace, name, reason });
        };
        let ScaleTargetRef { api_version, kind, name: target_name } = self.scale_target_ref;
        let group = api_version.split_once('/').map_or("", |(group, _version)| group);
        let kind = Kind::from_name(&kind).filter(|kind| kind.group() == group);
        let Some(target) = kind.and_then(|kind| Target::new(kind, &namespace, &target_name).ok()) else {
            return Ok((uid, None));
        };
        let name = match self.owner {
            Some(owner) => format!("{}/{}", owner.kind, owner.name),
            None => format!("{KIND}/{name}"),
        };
        Ok((uid, Some(Autoscaler { target, name: name.into() })))
    }
}

impl Object for HorizontalPodAutoscaler {
    type Message = messages::HorizontalPodAutoscaler;

    fn resource_version(&self) -> Option<&str> {
        self.metadata.resource_version.as_deref()
    }
}

impl From<JsonAutoscaler> for HorizontalPodAutoscaler {
    fn from(JsonAutoscaler { metadata, spec }: JsonAutoscaler) -> Self {
        let owner = metadata.owner_references.into_iter().find(|owner| owner.controller);
        let metadata = Metadata {
            namespace: metadata.namespace,
            name: metadata.name,
            uid: metadata.uid,
            resource_version: metadata.resource_version,
        };
        Self { metadata, owner, scale_target_ref: spec.scale_target_ref }
    }
}

impl From<messages::HorizontalPodAutoscaler> for HorizontalPodAutoscaler {
    fn from(autoscaler: messages::HorizontalPodAutoscaler) -> Self {
        let mut metadata = autoscaler.metadata.unwrap_or_default();
        let owner = mem::take(&mut metadata.owner_references).into_iter().find(|owner| owner.controller);
        let scale_target_ref = autoscaler.spec.and_then(|spec| spec.scale_target_ref).unwrap_or_default();
        let messages::CrossVersionObjectReference { api_version, kind, name } = scale_target_ref;
        Self {
            metadata: metadata.into(),
            owner: owner.map(|owner| Owner {
                kind: text(&owner.kind),
                name: text(&owner.name),
                controller: true,
            }),
            scale_target_ref: ScaleTargetRef {
                api_version: text(&api_version),
                kind: text(&kind),
                name: text(&name),
            },
        }
    }
}

/// The same text that the API server writes in JSON.
fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(metadata: &str, scale_target_ref: &str, expected: Result<Option<(&str, &str)>, &str>) {
        let json = format!(
            r#"{{"metadata":{{"name":"web","namespace":"shop","resourceVersion":"7"{metadata}}},
                "spec":{{"maxReplicas":9,"scaleTargetRef":{{{scale_target_ref}}}}},"status":{{"currentReplicas":1}}}}"#
        );
        let autoscaler: HorizontalPodAutoscaler = serde_json::from_str(&json).expect("valid");
        match (autoscaler.into_autoscaler(), expected) {
            (Ok((uid, autoscaler)), Ok(expected)) => {
                let autoscaler = autoscaler.map(|Autoscaler { target, name }| (target.to_string(), name));
                let autoscaler = autoscaler.as_ref().map(|(target, name)| (target.as_str(), &**name));
                assert_eq!((uid.as_str(), autoscaler), ("u", expected));
            }
            (Err(error), Err(text)) => assert!(error.to_string().contains(text), "{error}"),
            (actual, expected) => panic!("{actual:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn names_its_target_and_its_owner() {
        const UID: &str = r#","uid":"u""#;
        const API: &str = r#""apiVersion":"apps/v1","kind":"Deployment","name":"api""#;
        let owned = |controller| {
            format!(
                r#"{UID},"ownerReferences":[{{"kind":"Team","name":"a"}},
                    {{"kind":"ScaledObject","name":"b","controller":{controller},"uid":"o"}}]"#
            )
        };
        check(UID, API, Ok(Some(("shop/api", "HorizontalPodAutoscaler/web"))));
        check(&owned(true), API, Ok(Some(("shop/api", "ScaledObject/b"))));
        check(&owned(false), API, Ok(Some(("shop/api", "HorizontalPodAutoscaler/web"))));
        check(UID, r#""apiVersion":"apps/v1","kind":"ReplicaSet","name":"api""#, Ok(None));
        check(UID, r#""apiVersion":"example.com/v1","kind":"Deployment","name":"api""#, Ok(None));
        check(UID, "", Ok(None));
        check("", API, Err("has no uid"));
        check(UID, r#""apiVersion":"apps/v1","kind":"Deployment","name":"API""#, Ok(None));
    }
}
