//! Properties that hold for any input. The targets in `targets/` search for counterexamples; a test of the server
//! checks the inputs kept in `corpus/`.

// Each target uses only one of these.
#![allow(dead_code)]

use jiff::Timestamp;
use prost::Message;
use replica_count_api::request::{self, EnforcementRequest, ListRequest, SetRequest};
use replica_count_api::{proto, response};
use replica_count_core::entry_target::EntryTarget;
use replica_count_core::kind::Kind;
use replica_count_core::managed_fields::owner_of_replicas;
use replica_count_core::replicas::Replicas;
use replica_count_core::settings_file;
use replica_count_core::target::Target;
use replica_count_manager::kubernetes::workload::{Deployment, StatefulSet, Workload};
use replica_count_manager::net::tls::identity::Identity;
use replica_count_wire::{Encoding, Event, Frames, messages};
use serde_json::Value;

/// A client's certificate is rejected, or its names are not empty and have no control characters.
pub(crate) fn identity(der: &[u8]) {
    let Ok(Identity { user, groups, .. }) = Identity::from_certificate(der) else { return };
    for name in std::iter::once(&*user).chain(groups.iter().map(String::as_str)) {
        assert!(!name.is_empty() && !name.contains(char::is_control), "{name:?}");
    }
}

/// The owner of a count is one of its owners in `managedFields`.
pub(crate) fn managed_fields(json: &[u8]) {
    let Ok(Some(owner)) = owner_of_replicas(&mut serde_json::Deserializer::from_slice(json)) else { return };
    let Ok(Value::Array(entries)) = serde_json::from_slice(json) else { return };
    let owns = |entry: &Value| {
        entry["manager"] == *owner.manager() && entry.pointer("/fieldsV1/f:spec/f:replicas").is_some()
    };
    assert!(entries.iter().any(owns), "{owner:?}");
}

/// All fields of an accepted request are valid. The first byte selects the RPC.
pub(crate) fn request(input: &[u8]) {
    let Some((rpc, message)) = input.split_first() else { return };
    let check_entry_target = |target: &EntryTarget| {
        let (kind, other_kind) = response::kind(target);
        let parsed = request::entry_target(kind.into(), &other_kind, target.namespace(), target.name());
        assert_eq!(parsed.as_ref(), Ok(target));
    };
    let check_target = |target: &Target| check_entry_target(&target.clone().into());
    match rpc {
        b'S' => {
            let max = Replicas::new(1000).expect("valid");
            let Ok(message) = proto::SetDeploymentRequest::decode(message) else { return };
            let Ok(set) = SetRequest::parse(message, max, Timestamp::UNIX_EPOCH) else { return };
            check_target(&set.target);
            assert!((0..=1000).contains(&set.replicas.get()));
            assert!(set.reason.is_none_or(|reason| (1..=1024).contains(&reason.len())));
        }
        b'E' => {
            let Ok(message) = proto::SetEnforcementRequest::decode(message) else { return };
            let Ok(enforcement) = EnforcementRequest::parse(&message, Timestamp::UNIX_EPOCH) else { return };
            check_target(&enforcement.target);
        }
        b'L' => {
            let Ok(message) = proto::ListDeploymentsRequest::decode(message) else { return };
            let Ok(list) = ListRequest::parse(message) else { return };
            list.after.iter().for_each(check_entry_target);
            assert_ne!(list.page_size, Some(0));
        }
        _ => {}
    }
}

/// A settings file that can be parsed can be written and parsed again with the same result.
pub(crate) fn settings_file(text: &[u8]) {
    let Ok(stored) = settings_file::parse(text) else { return };
    let mut written = Vec::new();
    settings_file::render(&stored, &mut written);
    for entry in stored.unsupported.values() {
        assert!(str::from_utf8(&written).is_ok_and(|text| text.contains(&*entry.json)), "kept unchanged");
    }
    let text = settings_file::Text::of(&stored);
    assert_eq!(text.current(), written);
    assert_eq!(settings_file::parse(&written), Ok(stored));
}

/// The events of a watch do not depend on how the stream is split, and a workload in protobuf is read correctly.
pub(crate) fn watch(stream: &[u8]) {
    let events = |encoding, piece| {
        let mut frames = Frames::new(encoding);
        let mut events = Vec::new();
        for piece in stream.chunks(piece) {
            frames.push(piece);
            while let Ok(Some(event)) = frames.take() {
                events.push(event);
            }
        }
        events
    };
    for encoding in [Encoding::Json, Encoding::Protobuf] {
        assert_eq!(events(encoding, 7), events(encoding, usize::MAX));
    }
    for event in events(Encoding::Protobuf, usize::MAX) {
        let Ok(Event { object, .. }) = Event::read(event) else { continue };
        if let Ok(messages::Deployment { metadata, spec, status }) = object.object() {
            let replicas = spec.as_ref().and_then(|spec| spec.replicas);
            let workload =
                Deployment::from(messages::Deployment { metadata: metadata.clone(), spec, status });
            workload_in_protobuf(Kind::Deployment, workload.into(), metadata.as_ref(), replicas);
        }
        if let Ok(messages::StatefulSet { metadata, spec, status }) = object.object() {
            let replicas = spec.as_ref().and_then(|spec| spec.replicas);
            let workload =
                StatefulSet::from(messages::StatefulSet { metadata: metadata.clone(), spec, status });
            workload_in_protobuf(Kind::StatefulSet, workload.into(), metadata.as_ref(), replicas);
        }
    }
}

fn workload_in_protobuf(
    kind: Kind,
    workload: Workload,
    metadata: Option<&messages::ObjectMeta>,
    replicas: Option<i32>,
) {
    let entries = metadata.into_iter().flat_map(|metadata| &metadata.managed_fields);
    let managers: Vec<String> =
        entries.map(|entry| String::from_utf8_lossy(&entry.manager).into_owned()).collect();
    let Ok((target, observed)) = workload.into_observed(kind) else { return };
    let proto_kind = proto::Kind::from(kind).into();
    assert_eq!(request::target(proto_kind, target.namespace(), target.name()).as_ref(), Ok(&target));
    assert_eq!(observed.replicas.get(), replicas.unwrap_or(1));
    assert!(observed.owner.is_none_or(|owner| managers.iter().any(|manager| *manager == owner.manager())));
}
