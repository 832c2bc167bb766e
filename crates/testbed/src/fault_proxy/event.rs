//! An event of a watch, as far as faults depend on it.

use std::fmt;

use serde::Deserialize;

/// The annotation of the bookmark that ends a listing as a stream.
const LISTING_END: &str = "k8s.io/initial-events-end";

/// What a line of a watch says.
#[derive(Clone, Debug, Deserialize)]
pub struct Event {
    r#type: String,
    object: Object,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Object {
    #[serde(default)]
    metadata: Metadata,
    #[serde(default)]
    spec: Spec,
}

#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase", default)]
struct Metadata {
    namespace: String,
    name: String,
    resource_version: String,
    annotations: std::collections::BTreeMap<String, String>,
}

#[derive(Clone, Debug, Default, Deserialize)]
struct Spec {
    replicas: Option<i64>,
}

impl Event {
    /// Reads a line; what makes no sense is passed on as it is.
    pub(super) fn parse(line: &[u8]) -> Option<Self> {
        serde_json::from_slice(line).ok()
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

impl fmt::Display for Event {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Object { metadata, spec } = &self.object;
        write!(f, "{} {}/{}", self.r#type, metadata.namespace, metadata.name)?;
        write!(f, " version {}", metadata.resource_version)?;
        spec.replicas.map_or(Ok(()), |count| write!(f, " replicas {count}"))
    }
}
