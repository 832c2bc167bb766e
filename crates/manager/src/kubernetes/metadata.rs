//! The metadata of objects, from either encoding.

use replica_count_wire::messages;
use serde::Deserialize;

/// The metadata that are read from objects of every kind.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Metadata {
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) uid: Option<String>,
    pub(super) resource_version: Option<String>,
}

impl From<messages::ObjectMeta> for Metadata {
    fn from(metadata: messages::ObjectMeta) -> Self {
        // Strings that are absent in JSON are empty in protobuf.
        let present = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            namespace: present(metadata.namespace),
            name: present(metadata.name),
            uid: present(metadata.uid),
            resource_version: present(metadata.resource_version),
        }
    }
}
