//! The parts of a watch event that faults depend on.

use std::collections::BTreeMap;
use std::fmt;

use hyper::body::Bytes;
use replica_count_wire::{Encoding, Unreadable, messages};
use serde::Deserialize;

/// The annotation of the bookmark that ends a streamed listing.
const LISTING_END: &str = "k8s.io/initial-events-end";

/// A watch event.
#[derive(Clone, Debug, PartialEq, Deserialize)]
pub struct Event {
    r#type: String,
    object: Object,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
struct Object {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    namespace: String,
    name: String,
    resource_version: String,
    annotations: BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, PartialEq, Deserialize)]
struct Spec {
    replicas: Option<i64>,
}

impl Event {
    /// Decodes an event; `None` if it cannot be decoded, in which case it is forwarded unchanged.
    pub(super) fn read(encoding: Encoding, frame: &Bytes) -> Option<Self> {
        match encoding {
            Encoding::Json => serde_json::from_slice(frame).ok(),
            Encoding::Protobuf => Self::read_protobuf(frame).ok(),
        }
    }

    fn read_protobuf(frame: &Bytes) -> Result<Self, Unreadable> {
        let replica_count_wire::Event { r#type, object } = replica_count_wire::Event::read(frame.clone())?;
        let metadata = object.object::<messages::AnyObject>()?.metadata.unwrap_or_default();
        let messages::AnyMeta { namespace, name, resource_version, annotations } = metadata;
        // Other kinds use the same field number for something else.
        let replicas = match object.kind() {
            "Deployment" => object.object::<messages::Deployment>()?.spec.and_then(|spec| spec.replicas),
            "StatefulSet" => object.object::<messages::StatefulSet>()?.spec.and_then(|spec| spec.replicas),
            _ => None,
        };
        let metadata = Metadata { namespace, name, resource_version, annotations };
        Ok(Self { r#type, object: Object { metadata, spec: Spec { replicas: replicas.map(i64::from) } } })
    }

    pub(super) fn is_bookmark(&self) -> bool {
        self.r#type == "BOOKMARK"
    }

    pub(super) fn ends_listing(&self) -> bool {
        self.is_bookmark() && self.object.metadata.annotations.contains_key(LISTING_END)
    }

    /// The object and its current count. `None` if it has no count or was deleted.
    pub(super) fn count(&self) -> Option<(String, i64)> {
        let Metadata { namespace, name, .. } = &self.object.metadata;
        let is_there = matches!(&*self.r#type, "ADDED" | "MODIFIED");
        let count = self.object.spec.replicas.filter(|_| is_there)?;
        Some((format!("{namespace}/{name}"), count))
    }

    /// The same, only if the object existed before.
    pub(super) fn modified(&self) -> Option<(String, i64)> {
        self.count().filter(|_| self.r#type == "MODIFIED")
    }
}

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Object { metadata, spec } = &self.object;
        write!(f, "{} {}/{}", self.r#type, metadata.namespace, metadata.name)?;
        write!(f, " version {}", metadata.resource_version)?;
        spec.replicas.map_or(Ok(()), |count| write!(f, " replicas {count}"))
    }
}

#[cfg(test)]
mod tests {
    use replica_count_wire::Envelope;
    use serde_json::json;

    use super::*;

    /// Checks that both encodings yield the same event, and its summary.
    #[track_caller]
    fn check(json: &serde_json::Value, object: Envelope, expected: &str) -> Event {
        let r#type = json["type"].as_str().unwrap().to_owned();
        let by_json = Event::read(Encoding::Json, &json.to_string().into()).unwrap();
        let frame = replica_count_wire::Event { r#type, object }.write();
        let by_protobuf = Event::read(Encoding::Protobuf, &frame).unwrap();
        assert_eq!(by_protobuf, by_json);
        assert_eq!(by_json.to_string(), expected);
        by_json
    }

    #[test]
    fn events_are_the_same_in_both_encodings() {
        let any = |name: &str, annotations| messages::AnyMeta {
            name: name.to_owned(),
            namespace: "a".to_owned(),
            resource_version: "7".to_owned(),
            annotations,
        };
        let json = |r#type, name, spec: serde_json::Value| {
            let metadata = json!({ "namespace": "a", "name": name, "resourceVersion": "7" });
            json!({ "type": r#type, "object": { "metadata": metadata, "spec": spec } })
        };
        let metadata = messages::ObjectMeta {
            name: "web".to_owned(),
            namespace: "a".to_owned(),
            resource_version: "7".to_owned(),
            ..messages::ObjectMeta::default()
        };
        let deployment = messages::Deployment {
            metadata: Some(metadata.clone()),
            spec: Some(messages::DeploymentSpec { replicas: Some(0) }),
            status: None,
        };
        let object = Envelope::new("apps/v1", "Deployment", &deployment);
        let event = check(
            &json("MODIFIED", "web", json!({ "replicas": 0 })),
            object,
            "MODIFIED a/web version 7 replicas 0",
        );
        assert_eq!(event.modified(), Some(("a/web".to_owned(), 0)));
        assert_eq!(event.count(), event.modified());

        let scale_target_ref = Some(messages::CrossVersionObjectReference::default());
        let autoscaler = messages::HorizontalPodAutoscaler {
            metadata: Some(metadata),
            spec: Some(messages::HorizontalPodAutoscalerSpec { scale_target_ref }),
        };
        let object = Envelope::new("autoscaling/v2", "HorizontalPodAutoscaler", &autoscaler);
        let event =
            check(&json("MODIFIED", "web", json!({ "maxReplicas": 3 })), object, "MODIFIED a/web version 7");
        assert_eq!(event.modified(), None);

        let mut bookmark = json("BOOKMARK", "", json!({}));
        bookmark["object"]["metadata"]["annotations"] = json!({ LISTING_END: "true" });
        let end = any("", BTreeMap::from([(LISTING_END.to_owned(), "true".to_owned())]));
        let object = Envelope::new("apps/v1", "Deployment", &messages::AnyObject { metadata: Some(end) });
        let event = check(&bookmark, object, "BOOKMARK a/ version 7");
        assert!(event.ends_listing());
    }
}
