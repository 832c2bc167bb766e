//! The requests that write a count.

use std::num::NonZeroU64;
use std::time::Duration;

use http::{Request, header};
use replica_count_core::decide::{Method, Repair};
use replica_count_core::own_writes::FIELD_MANAGER;
use replica_count_core::target::Target;
use replica_count_wire::Envelope;
use replica_count_wire::messages::{ObjectMeta, Scale, ScaleSpec};
use replica_count_wire::{ACCEPT, Encoding};
use serde_json::{Value, json};

use crate::kubernetes::path;

/// How much sooner than this server the API server gives up, so that its answer says so; a tenth of a short time.
const MARGIN: Duration = Duration::from_millis(500);

/// The request that writes the desired count within `time`, if the workload is still what the decision was based on.
pub(super) fn request(target: &Target, repair: &Repair, time: Duration) -> http::Result<Request<Vec<u8>>> {
    let timeout = time.saturating_sub(MARGIN.min(time / 10)).as_millis();
    let uri = format!("{}/scale?fieldManager={FIELD_MANAGER}&timeout={timeout}ms", path::workload(target));
    let json = |value: Value| value.to_string().into_bytes();
    let (request, content_type, body) = match repair.method {
        Method::Update { version } => {
            (Request::put(uri), Encoding::Protobuf.media_type(), scale(target, repair, version))
        }
        Method::Patch => (Request::patch(uri), "application/json-patch+json", json(patch(repair))),
        Method::Guarded => {
            (Request::patch(uri), "application/json-patch+json", json(json!([test_uid(repair)])))
        }
        // By force, because the count is ours whoever owns it.
        Method::Apply { version } => {
            let body = json(applied(target, repair, version));
            (Request::patch(format!("{uri}&force=true")), "application/apply-patch+yaml", body)
        }
    };
    request.header(header::ACCEPT, ACCEPT).header(header::CONTENT_TYPE, content_type).body(body)
}

/// A Scale to put in place of the observed uid and version. A 0 is not encoded, and an absent count is 0.
fn scale(target: &Target, repair: &Repair, version: NonZeroU64) -> Vec<u8> {
    let metadata = ObjectMeta {
        name: target.name().to_owned(),
        namespace: target.namespace().to_owned(),
        uid: repair.uid.to_string(),
        resource_version: version.to_string(),
        ..ObjectMeta::default()
    };
    let spec = ScaleSpec { replicas: repair.to.get() };
    let scale = Scale { metadata: Some(metadata), spec: Some(spec) };
    Envelope::new("autoscaling/v1", "Scale", &scale).seal().into()
}

/// A JSON Patch that tests the observed uid and count, and only then sets the desired one.
///
/// A Scale of 0 has no `replicas`. `test` with `null` passes exactly then, and `add` sets a member whether or not it
/// exists, so this form works for every pair of counts.
fn patch(repair: &Repair) -> Value {
    let observed = match repair.from.get() {
        0 => Value::Null,
        count => count.into(),
    };
    json!([
        test_uid(repair),
        { "op": "test", "path": "/spec/replicas", "value": observed },
        { "op": "add", "path": "/spec/replicas", "value": repair.to.get() },
    ])
}

/// The operation that fails unless the object is the observed one.
fn test_uid(repair: &Repair) -> Value {
    json!({ "op": "test", "path": "/metadata/uid", "value": repair.uid.to_string() })
}

/// A Scale to apply to the observed uid and version. It always has a count: without one, Kubernetes would scale to 0.
fn applied(target: &Target, repair: &Repair, version: NonZeroU64) -> Value {
    json!({
        "apiVersion": "autoscaling/v1",
        "kind": "Scale",
        "metadata": {
            "name": target.name(),
            "namespace": target.namespace(),
            "uid": repair.uid.to_string(),
            "resourceVersion": version.to_string(),
        },
        "spec": { "replicas": repair.to.get() },
    })
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use replica_count_core::failures::WRITE_DEADLINES;
    use replica_count_core::replicas::Replicas;

    use super::*;

    const URI: &str = "/apis/apps/v1/namespaces/shop/deployments/web/scale?fieldManager=replica-count-manager&timeout=4500ms";

    fn repair(from: i32, to: i32, method: Method) -> Repair {
        let count = |n| Replicas::new(n).expect("valid");
        Repair {
            uid: "u".into(),
            from: count(from),
            to: count(to),
            generation: 1,
            drift: None,
            method,
            deadline: WRITE_DEADLINES[0],
        }
    }

    #[track_caller]
    fn check(from: i32, to: i32, method: Method, uri: &str, expected: &Value) {
        let target = Target::deployment("shop", "web").expect("valid");
        let repair = repair(from, to, method);
        let request = request(&target, &repair, repair.deadline).expect("a valid request");
        assert_eq!(request.method(), "PATCH");
        assert_eq!(request.uri(), uri);
        let body: Value = serde_json::from_slice(request.body()).expect("JSON");
        assert_eq!(&body, expected);
    }

    #[test]
    fn tests_the_observed_state_before_writing() {
        check(
            5,
            0,
            Method::Patch,
            URI,
            &json!([
                { "op": "test", "path": "/metadata/uid", "value": "u" },
                { "op": "test", "path": "/spec/replicas", "value": 5 },
                { "op": "add", "path": "/spec/replicas", "value": 0 },
            ]),
        );
        check(
            0,
            5,
            Method::Patch,
            URI,
            &json!([
                { "op": "test", "path": "/metadata/uid", "value": "u" },
                { "op": "test", "path": "/spec/replicas", "value": null },
                { "op": "add", "path": "/spec/replicas", "value": 5 },
            ]),
        );
    }

    #[test]
    fn applies_to_the_observed_version() {
        let apply = Method::Apply { version: NonZeroU64::new(7).expect("positive") };
        let metadata = json!({ "name": "web", "namespace": "shop", "uid": "u", "resourceVersion": "7" });
        let scale = json!({
            "apiVersion": "autoscaling/v1",
            "kind": "Scale",
            "metadata": metadata,
            "spec": { "replicas": 0 },
        });
        check(5, 0, apply, &format!("{URI}&force=true"), &scale);
    }

    #[test]
    fn leaves_the_count_to_the_guard() {
        let nothing = json!([{ "op": "test", "path": "/metadata/uid", "value": "u" }]);
        check(5, 0, Method::Guarded, URI, &nothing);
    }

    #[test]
    fn puts_in_place_of_the_observed_version() {
        for to in [0, 7] {
            let target = Target::deployment("shop", "web").expect("valid");
            let repair = repair(5, to, Method::Update { version: NonZeroU64::new(7).expect("positive") });
            let request = request(&target, &repair, repair.deadline).expect("a valid request");
            assert_eq!((request.method().as_str(), request.uri().to_string().as_str()), ("PUT", URI));
            assert_eq!(request.headers()[header::CONTENT_TYPE], "application/vnd.kubernetes.protobuf");
            let envelope = Envelope::open(Bytes::from(request.into_body())).expect("an envelope");
            let Scale { metadata, spec } = envelope.object().expect("a Scale");
            let metadata = metadata.expect("present");
            assert_eq!((&*metadata.namespace, &*metadata.name), ("shop", "web"));
            assert_eq!((&*metadata.uid, &*metadata.resource_version), ("u", "7"));
            assert_eq!(spec, Some(ScaleSpec { replicas: to }));
        }
    }
}
