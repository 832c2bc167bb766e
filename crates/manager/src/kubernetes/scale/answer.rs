//! The answers of the API server to a write.

use std::num::NonZeroU64;

use bytes::Bytes;
use http::response::Parts;
use http::{StatusCode, header};
use kube::core;
use replica_count_core::failures::{Failure, WriteError};
use replica_count_core::replicas::Replicas;
use replica_count_wire::Encoding;
use replica_count_wire::Envelope;
use replica_count_wire::messages;
use serde::Deserialize;

use crate::kubernetes::retry_after;

/// The message of an API server for a JSON Patch with a failed test: 422 without any detail.
const FAILED_TEST: &str = "the server rejected our request";
/// The longest message that is kept of a failure, in bytes: the API server may repeat whole objects.
const LONGEST_MESSAGE: usize = 1024;

/// What a write has stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Written {
    /// The version that the write created, if comparable.
    pub version: Option<NonZeroU64>,
    /// The count that is stored now. It is not the desired one if admission has changed it.
    pub replicas: Replicas,
}

/// The needed fields of the Scale in the answer.
#[derive(Deserialize)]
struct Scale {
    metadata: ScaleMetadata,
    spec: ScaleSpec,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct ScaleMetadata {
    resource_version: Option<String>,
}

#[derive(Deserialize)]
struct ScaleSpec {
    /// Absent for 0.
    #[serde(default)]
    replicas: i32,
}

/// What a successful answer says was stored. `None`: it is no Scale.
pub(super) fn written(head: &Parts, body: &[u8]) -> Option<Written> {
    let (version, replicas) = match encoding(head) {
        Encoding::Json => {
            let Scale { metadata, spec } = serde_json::from_slice(body).ok()?;
            (metadata.resource_version.unwrap_or_default(), spec.replicas)
        }
        Encoding::Protobuf => {
            let messages::Scale { metadata, spec } = open(body)?;
            (metadata?.resource_version, spec?.replicas)
        }
    };
    Some(Written { version: version.parse().ok(), replicas: Replicas::new(replicas).ok()? })
}

fn encoding(head: &Parts) -> Encoding {
    Encoding::of(head.headers.get(header::CONTENT_TYPE).map_or(b"", |value| value.as_bytes()))
}

fn open<M: prost::Message + Default>(body: &[u8]) -> Option<M> {
    Envelope::open(Bytes::copy_from_slice(body)).ok()?.object().ok()
}

/// A failed write, without a request to wait.
pub(super) fn failed(failure: Failure, code: Option<StatusCode>, mut message: String) -> WriteError {
    message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
    WriteError::new(failure, code.map(|code| code.as_u16()), message)
}

/// The beginning of an answer that is not what it should be, for the log.
pub(super) fn beginning(body: &[u8]) -> String {
    String::from_utf8_lossy(&body[..body.len().min(LONGEST_MESSAGE)]).into_owned()
}

/// The reason and the message of a Status, if the answer is one.
fn status(head: &Parts, body: &[u8]) -> Option<(String, String)> {
    match encoding(head) {
        Encoding::Json => {
            let status = serde_json::from_slice::<core::Status>(body).ok()?;
            Some((status.reason, status.message))
        }
        Encoding::Protobuf => {
            let status: messages::Status = open(body)?;
            Some((status.reason, String::from_utf8_lossy(&status.message).into_owned()))
        }
    }
}

/// Converts a failure: usually a Status, but flow control and proxies answer in plain text.
pub(super) fn refusal(head: &Parts, body: &[u8]) -> WriteError {
    let (reason, message) = status(head, body).unwrap_or_default();
    let message = if message.is_empty() {
        format!("{}: {}", head.status, String::from_utf8_lossy(body).trim())
    } else {
        message
    };
    let retry_after = retry_after::of(&head.headers);
    let failure = failure(head.status, &reason, &message, retry_after.is_some());
    WriteError { retry_after: retry_after.unwrap_or_default(), ..failed(failure, Some(head.status), message) }
}

/// Why the API server refused. Admission may deny with any status, so its messages come first: those of webhooks and of
/// policies have a fixed beginning and a fixed middle. A missing permission is recognised by its message, too, because
/// other admission plugins also answer 403.
fn failure(status: StatusCode, reason: &str, message: &str, is_asked_to_wait: bool) -> Failure {
    let is_denied = message.starts_with("admission webhook ") || message.contains("denied request");
    match status {
        _ if is_denied => Failure::Denied,
        StatusCode::UNAUTHORIZED => Failure::Unauthorized,
        StatusCode::FORBIDDEN if lacks_right(message, "patch") || lacks_right(message, "update") => {
            Failure::Forbidden
        }
        StatusCode::FORBIDDEN => Failure::Denied,
        StatusCode::NOT_FOUND | StatusCode::CONFLICT => Failure::Stale,
        StatusCode::UNPROCESSABLE_ENTITY if message.starts_with(FAILED_TEST) => Failure::Stale,
        StatusCode::UNPROCESSABLE_ENTITY | StatusCode::BAD_REQUEST => Failure::Refused,
        StatusCode::TOO_MANY_REQUESTS => Failure::Throttled,
        _ if is_asked_to_wait => Failure::Throttled,
        StatusCode::GATEWAY_TIMEOUT => Failure::TimedOut,
        _ if reason == "Timeout" || message.contains("context deadline exceeded") => Failure::TimedOut,
        _ => Failure::Failed,
    }
}

/// Whether the API server says that this server lacks the right to a verb.
pub(super) fn lacks_right(message: &str, verb: &str) -> bool {
    message.contains(&format!(" cannot {verb} resource "))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use serde_json::json;

    use super::*;

    fn head(status: u16, retry_after: Option<&str>) -> Parts {
        let mut response = http::Response::builder().status(status);
        if let Some(retry_after) = retry_after {
            response = response.header(header::RETRY_AFTER, retry_after);
        }
        response.body(()).expect("valid").into_parts().0
    }

    /// What an API server of 1.36 answers with, by status, `reason` and message.
    #[test]
    fn refusals_are_told_apart() {
        use Failure::{Denied, Failed, Forbidden, Refused, Stale, TimedOut, Unauthorized};
        let webhook = r#"admission webhook "hook.example.com" denied the request: too many today"#;
        let silent_webhook = r#"admission webhook "hook.example.com" denied the request without explanation"#;
        let policy = "deployments.apps \"web\" is forbidden: ValidatingAdmissionPolicy 'few' with binding 'few' denied \
                      request: at most 2";
        let role = "deployments.apps \"web\" is forbidden: User \"system:serviceaccount:shop:low\" cannot patch resource \
                    \"deployments/scale\" in API group \"apps\" in the namespace \"shop\"";
        let slow_webhook = "Internal error occurred: failed calling webhook \"hook.example.com\": failed to call webhook: \
                            Post \"https://hook.example.com/?timeout=2s\": context deadline exceeded";
        let dead_webhook = "Internal error occurred: failed calling webhook \"hook.example.com\": failed to call webhook: \
                            Post \"https://hook.example.com/?timeout=10s\": dial tcp: connect: connection refused";
        let failed_test = "the server rejected our request due to an error in our request";
        let cases = [
            (400, "", webhook, Denied),
            (400, "", silent_webhook, Denied),
            (403, "", webhook, Denied),
            (404, "", webhook, Denied),
            (409, "", webhook, Denied),
            (422, "", webhook, Denied),
            (429, "", webhook, Denied),
            (500, "", webhook, Denied),
            (403, "Forbidden", policy, Denied),
            (413, "RequestEntityTooLarge", policy, Denied),
            (422, "Invalid", policy, Denied),
            (403, "Forbidden", role, Forbidden),
            (403, "Forbidden", "deployments.apps \"web\" is forbidden: not on Fridays", Denied),
            (401, "Unauthorized", "Unauthorized", Unauthorized),
            (404, "NotFound", "deployments.apps \"web\" not found", Stale),
            (409, "Conflict", "the object has been modified", Stale),
            (422, "Invalid", failed_test, Stale),
            (422, "Invalid", "spec.replicas: Invalid value: -1", Refused),
            (500, "InternalError", slow_webhook, TimedOut),
            (500, "InternalError", dead_webhook, Failed),
            (504, "Timeout", "Timeout: request did not complete within the allotted timeout", TimedOut),
        ];
        for (code, reason, message, expected) in cases {
            let body = json!({ "kind": "Status", "status": "Failure", "message": message, "reason": reason, "code": code });
            let error = refusal(&head(code, None), body.to_string().as_bytes());
            assert_eq!(error, WriteError::new(expected, Some(code), message.to_owned()), "{code} {message}");
        }
    }

    #[test]
    fn answers_without_a_status_are_quoted() {
        for (code, retry_after, text, failure, message) in [
            (
                429,
                Some("7"),
                "Too many requests",
                Failure::Throttled,
                "429 Too Many Requests: Too many requests",
            ),
            (503, Some("1"), "", Failure::Throttled, "503 Service Unavailable: "),
            (503, None, "", Failure::Failed, "503 Service Unavailable: "),
            (504, None, "proxy", Failure::TimedOut, "504 Gateway Timeout: proxy"),
        ] {
            let error = refusal(&head(code, retry_after), text.as_bytes());
            let seconds = retry_after.map_or(0, |seconds| seconds.parse().expect("a number"));
            let expected = WriteError {
                retry_after: Duration::from_secs(seconds),
                ..WriteError::new(failure, Some(code), message.to_owned())
            };
            assert_eq!(error, expected);
        }
        let error = refusal(&head(500, None), "é".repeat(LONGEST_MESSAGE).as_bytes());
        assert!(
            (LONGEST_MESSAGE - 1..=LONGEST_MESSAGE).contains(&error.message.len()),
            "{}",
            error.message.len()
        );
    }

    #[test]
    fn the_answer_says_what_was_stored() {
        let check = |body: &str, expected: Option<(u64, i32)>| {
            let written = written(&head(200, None), body.as_bytes());
            let written =
                written.map(|written| (written.version.map_or(0, NonZeroU64::get), written.replicas.get()));
            assert_eq!(written, expected, "{body}");
        };
        check(r#"{"metadata":{"resourceVersion":"7"},"spec":{"replicas":3}}"#, Some((7, 3)));
        check(r#"{"metadata":{"resourceVersion":"7"},"spec":{}}"#, Some((7, 0)));
        check(r#"{"metadata":{},"spec":{"replicas":3}}"#, Some((0, 3)));
        for broken in ["", "ok", "{}", r#"{"metadata":{},"spec":{"replicas":-1}}"#] {
            check(broken, None);
        }
    }

    #[test]
    fn answers_in_protobuf_say_the_same() {
        let mut head = head(200, None);
        head.headers
            .insert(header::CONTENT_TYPE, "application/vnd.kubernetes.protobuf".parse().expect("valid"));
        let check = |version: &str, replicas: i32, expected: Option<(u64, i32)>| {
            let metadata =
                messages::ObjectMeta { resource_version: version.to_owned(), ..Default::default() };
            let spec = messages::ScaleSpec { replicas };
            let scale = messages::Scale { metadata: Some(metadata), spec: Some(spec) };
            let body = Envelope::new("autoscaling/v1", "Scale", &scale).seal();
            let written = written(&head, &body);
            let written =
                written.map(|written| (written.version.map_or(0, NonZeroU64::get), written.replicas.get()));
            assert_eq!(written, expected);
        };
        check("7", 3, Some((7, 3)));
        check("7", 0, Some((7, 0)));
        check("", 3, Some((0, 3)));
        check("7", -1, None);
        assert_eq!(written(&head, b"k8s\0\xff"), None);

        head.status = StatusCode::CONFLICT;
        let status =
            messages::Status { message: "it was modified".into(), reason: "Conflict".to_owned(), code: 409 };
        let error = refusal(&head, &Envelope::new("v1", "Status", &status).seal());
        assert_eq!(error, WriteError::new(Failure::Stale, Some(409), "it was modified".to_owned()));
    }
}
