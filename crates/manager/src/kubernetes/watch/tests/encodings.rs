//! Protobuf and JSON are decoded to the same objects. `answers/` contains the answers of a real API server (1.36) to
//! the same requests in both encodings.

use bytes::Bytes;
use http::StatusCode;
use kube::core::{Status, WatchEvent};
use prost::Message as _;
use replica_count_core::kind::Kind;
use replica_count_wire::{Encoding, Envelope, Event, Frames, LONGEST_FRAME, messages};

use super::super::decode;
use super::super::error::WatchError;
use super::super::events::Events;
use super::super::object::Object;
use crate::kubernetes::autoscaler::HorizontalPodAutoscaler;
use crate::kubernetes::workload::{Deployment, Workload};

/// An answer in both encodings.
struct Answers {
    json: &'static [u8],
    protobuf: &'static [u8],
}

macro_rules! answers {
    ($name:literal) => {
        Answers {
            json: include_bytes!(concat!("answers/", $name, ".json")),
            protobuf: include_bytes!(concat!("answers/", $name, ".protobuf")),
        }
    };
}

impl Answers {
    /// Reads both answers, which must give the same result.
    #[track_caller]
    fn read<T: PartialEq + std::fmt::Debug>(&self, read: impl Fn(Encoding, &Bytes) -> T) -> T {
        let json = read(Encoding::Json, &Bytes::from_static(self.json));
        let protobuf = read(Encoding::Protobuf, &Bytes::from_static(self.protobuf));
        assert_eq!(protobuf, json);
        protobuf
    }
}

fn page<K: Object>(encoding: Encoding, body: &Bytes) -> (Vec<String>, bool, String) {
    let page = decode::page::<K>(encoding, body.clone()).expect("readable");
    let objects = page.objects.iter().map(|object| format!("{object:?}")).collect();
    (objects, page.next.is_some(), page.version)
}

/// All events of a stream as text.
fn events<K: Object>(encoding: Encoding, stream: &Bytes) -> Vec<String> {
    let mut frames = Frames::new(encoding);
    frames.push(stream);
    let mut events = Vec::new();
    while let Some(frame) = frames.take().expect("short") {
        events.push(describe(decode::event::<K>(encoding, frame).expect("readable")));
    }
    assert!(frames.is_empty());
    events
}

fn describe<K: Object>(event: WatchEvent<K>) -> String {
    match event {
        WatchEvent::Added(object) => format!("added {object:?}"),
        WatchEvent::Modified(object) => format!("modified {object:?}"),
        WatchEvent::Deleted(object) => format!("deleted {object:?}"),
        WatchEvent::Bookmark(bookmark) => {
            format!("bookmark {} {:?}", bookmark.metadata.resource_version, bookmark.metadata.annotations)
        }
        WatchEvent::Error(status) => format!("error {:?}", fields(&status)),
    }
}

fn fields(status: &Status) -> (u16, &str, &str) {
    (status.code, &status.reason, &status.message)
}

#[test]
fn deployments_are_equal() {
    let (objects, more, version) = answers!("deployments.page").read(page::<Deployment>);
    assert_eq!((objects.len(), more, version.as_str()), (3, true, "221"));
    let events = answers!("deployments.events").read(events::<Deployment>);
    assert_eq!(events.len(), 6);
    for (event, text) in [
        (0, "\"api\""),
        (1, "deleting: true"),
        (2, "kubectl-create"),
        (3, "ready_replicas: 2"),
        (5, "initial-events-end"),
    ] {
        assert!(events[event].contains(text), "{events:#?}");
    }
}

#[test]
fn autoscalers_are_equal() {
    let (objects, more, version) = answers!("autoscalers.list").read(page::<HorizontalPodAutoscaler>);
    assert_eq!((objects.len(), more, version.as_str()), (3, false, "221"));
    let events = answers!("autoscalers.events").read(events::<HorizontalPodAutoscaler>);
    assert_eq!(events.len(), 4);
    assert!(events[0].contains("ScaledObject"), "{events:#?}");
}

#[test]
fn refusals_are_equal() {
    let event = answers!("gone").read(events::<Deployment>);
    assert_eq!(event, [r#"error (410, "Expired", "too old resource version: 1 (227)")"#]);
    let refusal = answers!("forbidden").read(|encoding, body| {
        let status = decode::refusal(encoding, StatusCode::FORBIDDEN, body);
        (status.code, status.reason, status.message)
    });
    assert_eq!((refusal.0, refusal.1.as_str()), (403, "Forbidden"));

    for encoding in [Encoding::Json, Encoding::Protobuf] {
        let busy = Bytes::from_static(b"Too many requests\n");
        let status = decode::refusal(encoding, StatusCode::TOO_MANY_REQUESTS, &busy);
        assert_eq!(fields(&status), (429, "", "Too many requests"));
    }
}

/// Checks that a Deployment is the same from both encodings.
#[track_caller]
fn check(json: &str, message: &messages::Deployment, expected: &str) {
    let by_json: Deployment = serde_json::from_str(json).expect("valid");
    let by_protobuf: Deployment =
        messages::Deployment::decode(message.encode_to_vec().as_slice()).expect("valid").into();
    let [by_json, by_protobuf] = [by_json, by_protobuf].map(|deployment| {
        match Workload::from(deployment).into_observed(Kind::Deployment) {
            Ok(observed) => format!("{observed:?}"),
            Err(malformed) => malformed.to_string(),
        }
    });
    assert_eq!(by_protobuf, by_json);
    assert!(by_json.contains(expected), "{by_json}");
}

const METADATA: &str = r#""namespace":"shop","name":"web","uid":"u","resourceVersion":"7""#;
/// An entry of `managedFields`.
const ENTRY: &str =
    r#"{"manager":"a","time":"2026-01-02T03:04:05Z","fieldsV1":{"f:spec":{"f:replicas":{}}}}"#;

#[test]
fn unusual_objects_are_equal() {
    let metadata = || messages::ObjectMeta {
        namespace: "shop".to_owned(),
        name: "web".to_owned(),
        uid: "u".to_owned(),
        resource_version: "7".to_owned(),
        ..messages::ObjectMeta::default()
    };
    let deployment = |metadata, replicas, ready_replicas| messages::Deployment {
        metadata: Some(metadata),
        spec: Some(messages::DeploymentSpec { replicas }),
        status: Some(messages::DeploymentStatus { ready_replicas }),
    };
    let json = |metadata: &str, spec: &str| format!(r#"{{"metadata":{{{metadata}}},"spec":{{{spec}}}}}"#);

    check(&json(METADATA, ""), &deployment(metadata(), None, 0), "replicas: Replicas(1)");
    check(&json(METADATA, r#""replicas":0"#), &deployment(metadata(), Some(0), 0), "replicas: Replicas(0)");
    check(&json(METADATA, r#""replicas":-1"#), &deployment(metadata(), Some(-1), 0), "negative");
    check(
        &format!(r#"{{"metadata":{{{METADATA}}},"status":{{"readyReplicas":-2}}}}"#),
        &messages::Deployment { spec: None, ..deployment(metadata(), None, -2) },
        "ready: -2",
    );
    check(
        &json(&METADATA.replace('7', "x"), ""),
        &deployment(messages::ObjectMeta { resource_version: "x".to_owned(), ..metadata() }, None, 0),
        "resource_version: None",
    );
    check(
        &json(&METADATA.replace(r#""uid":"u","#, ""), ""),
        &deployment(messages::ObjectMeta { uid: String::new(), ..metadata() }, None, 0),
        "has no uid",
    );
    let time = Some(messages::Time { seconds: 1_767_323_045 });
    let fields = Some(messages::FieldsV1 { raw: Bytes::from_static(br#"{"f:spec":{"f:replicas":{}}}"#) });
    let entry = messages::ManagedFieldsEntry { manager: "a".into(), time, fields, ..Default::default() };
    let managed = |managed_fields| messages::ObjectMeta { managed_fields, ..metadata() };
    check(
        &json(&format!(r#"{METADATA},"managedFields":[{ENTRY}]"#), ""),
        &deployment(managed(vec![entry.clone()]), None, 0),
        "time: Some(2026-01-02T03:04:05Z)",
    );
    check(
        &json(&format!(r#"{METADATA},"managedFields":[{ENTRY},{ENTRY}]"#), ""),
        &deployment(managed(vec![entry.clone(), entry]), None, 0),
        "owner: None",
    );
    check("{\"metadata\":{}}", &messages::Deployment::default(), "namespace is empty");
}

#[test]
fn a_status_that_is_not_an_event_ends_the_watch_with_its_reason() {
    let status = br#"{"kind":"Status","message":"too old","reason":"Expired","code":410}"#;
    let event = decode::event::<Deployment>(Encoding::Json, Bytes::from_static(status));
    assert_eq!(describe(event.expect("readable")), r#"error (410, "Expired", "too old")"#);
}

/// A user who may create objects must not be able to make the whole watch fail.
#[test]
fn invalid_utf8_does_not_make_events_unreadable() {
    const INVALID: Bytes = Bytes::from_static(b"\xff");
    let owner_references = vec![messages::OwnerReference { kind: INVALID, name: INVALID, controller: true }];
    let metadata = || messages::ObjectMeta {
        uid: "u".to_owned(),
        owner_references: owner_references.clone(),
        managed_fields: vec![messages::ManagedFieldsEntry {
            manager: INVALID,
            operation: INVALID,
            subresource: INVALID,
            fields: Some(messages::FieldsV1 { raw: Bytes::from_static(br#"{"f:spec":{"f:replicas":{}}}"#) }),
            ..Default::default()
        }],
        ..messages::ObjectMeta::default()
    };
    let deployment = messages::Deployment { metadata: Some(metadata()), ..Default::default() };
    let scale_target_ref =
        messages::CrossVersionObjectReference { kind: INVALID, name: INVALID, api_version: INVALID };
    let autoscaler = messages::HorizontalPodAutoscaler {
        metadata: Some(metadata()),
        spec: Some(messages::HorizontalPodAutoscalerSpec { scale_target_ref: Some(scale_target_ref) }),
    };
    let status = messages::Status { message: INVALID, ..Default::default() };
    let event = |r#type: &str, object| Event { r#type: r#type.to_owned(), object }.write();
    let deployment = event("ADDED", Envelope::new("apps/v1", "Deployment", &deployment));
    let autoscaler = event("ADDED", Envelope::new("autoscaling/v2", "HorizontalPodAutoscaler", &autoscaler));
    let status = event("ERROR", Envelope::new("v1", "Status", &status));
    let decoded = [
        decode::event::<Deployment>(Encoding::Protobuf, deployment).map(describe),
        decode::event::<HorizontalPodAutoscaler>(Encoding::Protobuf, autoscaler).map(describe),
        decode::event::<Deployment>(Encoding::Protobuf, status).map(describe),
    ];
    for event in decoded {
        let event = event.expect("readable");
        assert!(event.contains('\u{fffd}'), "{event}");
    }
}

#[track_caller]
fn check_unreadable<T>(read: Result<T, WatchError>) {
    match read {
        Err(error @ WatchError::Unreadable(_)) => assert_eq!(error.reason(), "unreadable"),
        Err(other) => panic!("{other}"),
        Ok(_) => panic!("readable"),
    }
}

#[tokio::test]
async fn data_that_cannot_be_decoded_ends_the_watch() {
    let event = |r#type: &str, object| Event { r#type: r#type.to_owned(), object }.write();
    let status = || Envelope::new("v1", "Status", &messages::Status::default());
    for frame in [Bytes::from_static(b"{}"), event("OTHER", status()), Bytes::new()] {
        check_unreadable(decode::event::<Deployment>(Encoding::Protobuf, frame));
    }
    let autoscaler = messages::HorizontalPodAutoscaler {
        metadata: None,
        spec: Some(messages::HorizontalPodAutoscalerSpec {
            scale_target_ref: Some(messages::CrossVersionObjectReference::default()),
        }),
    };
    let another_kind =
        event("ADDED", Envelope::new("autoscaling/v2", "HorizontalPodAutoscaler", &autoscaler));
    check_unreadable(decode::event::<Deployment>(Encoding::Protobuf, another_kind));
    check_unreadable(decode::event::<Deployment>(Encoding::Json, Bytes::from_static(b"{")));
    for encoding in [Encoding::Json, Encoding::Protobuf] {
        check_unreadable(decode::page::<Deployment>(encoding, Bytes::from_static(b"<html>")));
    }

    let longer = u32::try_from(LONGEST_FRAME + 1).expect("small").to_be_bytes().to_vec();
    let mut events = Events::new(Encoding::Protobuf, longer.into());
    check_unreadable(events.next::<Deployment>().await);
}

#[tokio::test]
async fn a_stream_that_ends_within_an_event_has_ended_early() {
    for encoding in [Encoding::Json, Encoding::Protobuf] {
        let frame = encoding.frame(b"{}");
        let mut events = Events::new(encoding, frame[..frame.len() - 1].to_vec().into());
        let next = events.next::<Deployment>().await;
        assert!(matches!(next, Err(WatchError::EndedEarly)), "{encoding:?}");
    }
}
