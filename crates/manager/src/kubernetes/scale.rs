//! The only code that writes to workloads.

use std::num::NonZeroU64;
use std::time::Duration;

use http::response::Parts;
use http::{Request, StatusCode, header};
use kube::Client;
use kube::core::Status;
use replica_count_core::decide::{Method, Repair};
use replica_count_core::failures::{Failure, WriteError};
use replica_count_core::own_writes::FIELD_MANAGER;
use replica_count_core::replicas::Replicas;
use replica_count_core::target::Target;
use serde::Deserialize;
use serde_json::{Value, json};
use tracing::{debug, warn};

use super::cause::{Cause, chain};
use super::exchange::exchange;
use super::{path, retry_after};
use crate::leadership::{Leadership, NoAnswer};

/// The message of an API server for a JSON Patch with a failed test: 422 without any detail.
const FAILED_TEST: &str = "the server rejected our request";
/// How much sooner than this server the API server gives up, so that its answer says so; a tenth of a short time.
const MARGIN: Duration = Duration::from_millis(500);
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

/// Why a write has stored nothing, as far as is known.
#[derive(Debug)]
pub enum NotWritten {
    /// This server may not write.
    NotSent,
    /// It failed.
    Failed(WriteError),
}

impl From<WriteError> for NotWritten {
    fn from(error: WriteError) -> Self {
        Self::Failed(error)
    }
}

/// When a write that the guard is to do is repeated: the guard follows its object within 5 to 20 ms.
const GUARD_DELAYS: [Duration; 5] = [
    Duration::from_millis(5),
    Duration::from_millis(10),
    Duration::from_millis(20),
    Duration::from_millis(50),
    Duration::from_millis(100),
];

/// Writes the desired count if the workload has not changed since the decision. If the guard is to do that, and it does
/// not in time, what was stored has another count.
pub async fn write(
    client: &Client,
    leadership: &Leadership,
    target: &Target,
    repair: &Repair,
) -> Result<Written, NotWritten> {
    let repeats = match repair.method {
        Method::Guarded => &GUARD_DELAYS[..],
        Method::Patch | Method::Apply { .. } => &[],
    };
    let mut written = write_once(client, leadership, target, repair).await?;
    for delay in repeats {
        if written.replicas == repair.to {
            break;
        }
        tokio::time::sleep(*delay).await;
        written = write_once(client, leadership, target, repair).await?;
    }
    Ok(written)
}

async fn write_once(
    client: &Client,
    leadership: &Leadership,
    target: &Target,
    repair: &Repair,
) -> Result<Written, NotWritten> {
    let send = async |time| {
        let request = request(target, repair, time);
        let request = request.map_err(|error| failed(Failure::Failed, None, error.to_string()))?;
        exchange(client, request).await.map_err(|error| unreachable(&error))
    };
    let (head, body) = leadership.write(repair.deadline, send).await.map_err(unanswered)??;
    if !head.status.is_success() {
        return Err(refusal(&head, &body).into());
    }
    written(&body).ok_or_else(|| {
        let text = &body[..body.len().min(LONGEST_MESSAGE)];
        warn!(%target, text = ?String::from_utf8_lossy(text), "the answer to a write is not a Scale");
        failed(Failure::Failed, Some(head.status), "the answer is not a Scale; see the log".to_owned()).into()
    })
}

fn unanswered(why: NoAnswer) -> NotWritten {
    let (after, hint) = match why {
        NoAnswer::NotSent => return NotWritten::NotSent,
        NoAnswer::Deadline { after, is_cut: false } => (after, ""),
        NoAnswer::Deadline { after, is_cut: true } => (
            after,
            "; this server may write no longer before it renews its lease: if admission needs more time, raise \
             --lease-renew-deadline and --lease-duration",
        ),
    };
    let message = format!("no answer within {after:?}; the write may have happened{hint}");
    failed(Failure::Deadline, None, message).into()
}

/// There was no answer. Clients see the message, so it is only the kind of the cause.
fn unreachable(error: &kube::Error) -> WriteError {
    // The watches warn of the same cause.
    debug!(reason = chain(error), "no answer to a write");
    failed(Failure::Unreachable, None, Cause::of(error).to_string())
}

/// A failed write, without a request to wait.
fn failed(failure: Failure, code: Option<StatusCode>, mut message: String) -> WriteError {
    message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
    WriteError::new(failure, code.map(|code| code.as_u16()), message)
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

fn written(body: &[u8]) -> Option<Written> {
    let Scale { metadata, spec } = serde_json::from_slice(body).ok()?;
    let version = metadata.resource_version.and_then(|version| version.parse().ok());
    Some(Written { version, replicas: Replicas::new(spec.replicas).ok()? })
}

/// The request that writes the desired count within `time`, if the workload is still what the decision was based on.
fn request(target: &Target, repair: &Repair, time: Duration) -> http::Result<Request<Vec<u8>>> {
    let timeout = time.saturating_sub(MARGIN.min(time / 10)).as_millis();
    let uri = format!("{}/scale?fieldManager={FIELD_MANAGER}&timeout={timeout}ms", path::workload(target));
    let (uri, content_type, body) = match repair.method {
        Method::Patch => (uri, "application/json-patch+json", patch(repair)),
        Method::Guarded => (uri, "application/json-patch+json", json!([test_uid(repair)])),
        // By force, because the count is ours whoever owns it.
        Method::Apply { version } => {
            (format!("{uri}&force=true"), "application/apply-patch+yaml", scale(target, repair, version))
        }
    };
    Request::patch(uri)
        .header(header::ACCEPT, "application/json")
        .header(header::CONTENT_TYPE, content_type)
        .body(body.to_string().into_bytes())
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
fn scale(target: &Target, repair: &Repair, version: NonZeroU64) -> Value {
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

/// Converts a failure: usually a Status in JSON, but flow control and proxies answer in plain text.
fn refusal(head: &Parts, body: &[u8]) -> WriteError {
    let status = serde_json::from_slice::<Status>(body).ok();
    let message = match &status {
        Some(status) if !status.message.is_empty() => status.message.clone(),
        Some(_) | None => format!("{}: {}", head.status, String::from_utf8_lossy(body).trim()),
    };
    let reason = status.map(|status| status.reason).unwrap_or_default();
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
        StatusCode::FORBIDDEN if message.contains(" cannot patch resource ") => Failure::Forbidden,
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

#[cfg(test)]
mod tests {
    use std::io;

    use kube::client::Body;
    use replica_count_core::failures::WRITE_DEADLINES;

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

    #[tokio::test]
    async fn clients_learn_no_addresses_and_no_text_of_others() {
        let check = async |answer: fn() -> io::Result<http::Response<Body>>, expected: &str| {
            let service = tower::service_fn(move |_: Request<Body>| std::future::ready(answer()));
            let target = Target::deployment("shop", "web").expect("valid");
            let repair = repair(5, 0, Method::Patch);
            let client = Client::new(service, "default");
            match write(&client, &Leadership::default(), &target, &repair).await {
                Err(NotWritten::Failed(error)) => assert_eq!(error.message, expected),
                other => panic!("{other:?}"),
            }
        };
        check(
            || Ok(http::Response::new(Body::from(b"<p>10.0.0.7</p>".to_vec()))),
            "the answer is not a Scale; see the log",
        )
        .await;
        check(
            || Err(io::Error::new(io::ErrorKind::ConnectionRefused, "10.0.0.7:6443")),
            "refused: nothing listens at the address of the API server; see the log",
        )
        .await;
    }

    #[test]
    fn the_answer_says_what_was_stored() {
        let check = |body: &str, expected: Option<(u64, i32)>| {
            let written = written(body.as_bytes());
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
}
