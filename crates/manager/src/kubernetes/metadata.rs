//! What every object is known by, whichever encoding it came in.

use replica_count_wire::messages;

/// The metadata of an object that are read of every kind.
#[derive(Clone, Debug, Default)]
pub(super) struct Metadata {
    pub(super) namespace: Option<String>,
    pub(super) name: Option<String>,
    pub(super) uid: Option<String>,
    pub(super) resource_version: Option<String>,
}

impl From<messages::ObjectMeta> for Metadata {
    fn from(metadata: messages::ObjectMeta) -> Self {
        // What is absent in JSON is empty in protobuf.
        let present = |text: String| Some(text).filter(|text| !text.is_empty());
        Self {
            namespace: present(metadata.namespace),
            name: present(metadata.name),
            uid: present(metadata.uid),
            resource_version: present(metadata.resource_version),
        }
    }
}
