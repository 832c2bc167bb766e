//! The metadata of an object that came as protobuf, as it would have come as JSON.

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use replica_count_wire::messages;

/// What every object is known by.
pub(super) fn known_by(metadata: messages::ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        namespace: present(metadata.namespace),
        name: present(metadata.name),
        uid: present(metadata.uid),
        resource_version: present(metadata.resource_version),
        ..ObjectMeta::default()
    }
}

/// What is absent in JSON is empty in protobuf.
fn present(text: String) -> Option<String> {
    Some(text).filter(|text| !text.is_empty())
}
