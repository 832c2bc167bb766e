//! The metadata of an object that came as protobuf, as it would have come as JSON.

use std::mem;

use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use replica_count_wire::messages;

/// Takes what every object is known by.
pub(super) fn take(metadata: &mut messages::ObjectMeta) -> ObjectMeta {
    ObjectMeta {
        namespace: take_text(&mut metadata.namespace),
        name: take_text(&mut metadata.name),
        uid: take_text(&mut metadata.uid),
        resource_version: take_text(&mut metadata.resource_version),
        ..ObjectMeta::default()
    }
}

/// What is absent in JSON is empty in protobuf.
fn take_text(text: &mut String) -> Option<String> {
    (!text.is_empty()).then(|| mem::take(text))
}
