//! An event of a watch, as far as faults depend on it.

use std::collections::BTreeMap;
use std::fmt;

use hyper::body::Bytes;
use replica_count_wire::{Encoding, Unreadable, messages};
use serde::Deserialize;

/// The annotation of the bookmark that ends a listing as a stream.
const LISTING_END: &str = "k8s.io/initial-events-end";

/// What an event of a watch says.
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
    /// Reads an event; what makes no sense is passed on as it is.
    pub(super) fn read(encoding: Encoding, frame: &Bytes) -> Option<Self> {
        match encoding {
            Encoding::Json => serde_json::from_slice(frame).ok(),
            Encoding::Protobuf => Self::read_protobuf(frame).ok(),
        }
    }

    fn read_protobuf(frame: &Bytes) -> Result<Self, Unreadable> {
        let replica_count_wire::Event { r#type, object } = replica_count_wire::Event::read(frame.clone())?;
        let messages::Deployment { metadata, spec, .. } = match object.kind() {
            "Deployment" => object.object()?,
            // The count of no other kind matters, and not all of them have one.
            _ => messages::Deployment { metadata: object.object::<Known>()?.metadata, ..Default::default() },
        };
        Ok(Self { r#type, object: Object { metadata, spec } })
    }

    pub(super) fn is_bookmark(&self) -> bool {
        self.r#type == "BOOKMARK"
    }

    pub(super) fn ends_listing(&self) -> bool {
        self.is_bookmark() && self.object.metadata.annotations.contains_key(LISTING_END)
    }

    /// The object that has changed and the count that it has now. `None`: no object, or one that is gone or new.
    pub(super) fn modified(&self) -> Option<(String, i64)> {
        let Metadata { namespace, name, .. } = &self.object.metadata;
        let count = self.object.spec.replicas.filter(|_| self.r#type == "MODIFIED")?;
        Some((format!("{namespace}/{name}"), count))
    }
}
