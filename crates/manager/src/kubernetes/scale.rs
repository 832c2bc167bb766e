//! The only code that writes to workloads.

use std::num::NonZeroU64;
use std::time::Duration;

use http::response::Parts;
use http::{Request, StatusCode, header};
use kube::Client;
use kube::client::Body;
use kube::core::Status;
use replica_count_core::decide::{FIELD_MANAGER, Repair};
use replica_count_core::failures::Failure;
use replica_count_core::target::Target;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::{path, retry_after};

/// The message of an API server for a JSON Patch with a failed test: 422 without any detail.
const FAILED_TEST: &str = "the server rejected our request";
/// How long one write may take: less than anything that waits for its outcome.
const WRITE_DEADLINE: Duration = Duration::from_secs(5);

/// Why a write did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The workload has changed since the decision, or was deleted. The watch will show how.
    #[error("it has changed meanwhile: {0}")]
    Stale(String),
    /// The API server asks to wait.
    #[error("the API server asks to wait: {reason}")]
    Throttled {
        /// The message of the API server.
        reason: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// This server lacks the permission.
    #[error("the API server refuses: {0}")]
    Forbidden(String),
    /// The API server or a policy in it refuses the count.
    #[error("the API server or a policy in it refuses: {0}")]
    Refused(String),
    /// The API server failed or refused for another reason.
    #[error("the API server failed: {0}")]
    Failed(String),
    /// The API server could not be reached.
    #[error("the API server cannot be reached: {0}")]
    Unreachable(String),
    /// There was no answer in time; the write may have happened.
    #[error("no answer within {WRITE_DEADLINE:?}")]
    Deadline,
}

impl WriteError {
    /// The kind of failure.
    pub fn failure(&self) -> Failure {
        match self {
            Self::Stale(_) => Failure::Stale,
            Self::Throttled { .. } => Failure::Throttled,
            Self::Forbidden(_) => Failure::Forbidden,
            Self::Refused(_) => Failure::Refused,
            Self::Failed(_) => Failure::Failed,
            Self::Unreachable(_) => Failure::Unreachable,
            Self::Deadline => Failure::Deadline,
        }
    }

    /// How long the API server asked to wait; zero if it did not ask.
    pub fn retry_after(&self) -> Duration {
        match self {
            Self::Throttled { retry_after, .. } => retry_after.unwrap_or_default(),
            Self::Stale(_)
            | Self::Forbidden(_)
            | Self::Refused(_)
            | Self::Failed(_)
            | Self::Unreachable(_)
            | Self::Deadline => Duration::ZERO,
        }
    }
}

/// Writes the desired count, if the workload has not changed since the decision.
///
/// Returns the new resource version, if it is comparable.
pub async fn write(
    client: &Client,
    target: &Target,
    repair: &Repair,
) -> Result<Option<NonZeroU64>, WriteError> {
    let request = request(target, repair).map_err(|error| WriteError::Failed(error.to_string()))?;
    let answer =
        timeout(WRITE_DEADLINE, exchange(client, request)).await.map_err(|_elapsed| WriteError::Deadline)?;
    let (head, body) = answer.map_err(|error| WriteError::Unreachable(error.to_string()))?;
    if head.status.is_success() {
        Ok(serde_json::from_slice::<Written>(&body).ok().and_then(Written::version))
    } else {
        Err(refusal(&head, &body))
    }
}

/// Sends a request and returns the whole answer, including failures. (kube's shorthand drops the headers of a failure.)
async fn exchange(client: &Client, request: Request<Vec<u8>>) -> kube::Result<(Parts, Vec<u8>)> {
    let (head, body) = client.send(request.map(Body::from)).await?.into_parts();
    Ok((head, body.collect_bytes().await?.into()))
}

/// The relevant part of the Scale in the answer to a write.
#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Written {
    metadata: WrittenMetadata,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct WrittenMetadata {
    resource_version: Option<String>,
}

impl Written {
    fn version(self) -> Option<NonZeroU64> {
        self.metadata.resource_version?.parse().ok()
    }
}

/// A JSON Patch that tests the uid and the observed count, and only then sets the desired one.
///
/// A Scale of 0 has no `replicas` at all. `test` with `null` passes exactly then, and `add` sets a member whether or
/// not it exists, so this one shape works for every pair of counts.
fn request(target: &Target, repair: &Repair) -> Result<Request<Vec<u8>>, http::Error> {
    let seen = match repair.from.get() {
        0 => Value::Null,
        count => count.into(),
    };
    let patch = json!([
        { "op": "test", "path": "/metadata/uid", "value": repair.uid.to_string() },
        { "op": "test", "path": "/spec/replicas", "value": seen },
        { "op": "add", "path": "/spec/replicas", "value": repair.to.get() },
    ]);
    Request::patch(format!("{}/scale?fieldManager={FIELD_MANAGER}", path::workload(target)))
        .header(header::ACCEPT, "application/json")
        .header(header::CONTENT_TYPE, "application/json-patch+json")
        .body(patch.to_string().into_bytes())
}

/// Converts a failure: usually a Status in JSON, but flow control and proxies answer in plain text.
fn refusal(head: &Parts, body: &[u8]) -> WriteError {
    let reason = match serde_json::from_slice::<Status>(body) {
        Ok(status) => status.message,
        Err(_) => format!("{}: {}", head.status, String::from_utf8_lossy(body).trim()),
    };
    let retry_after = retry_after::of(&head.headers);
    match head.status {
        StatusCode::NOT_FOUND | StatusCode::CONFLICT => WriteError::Stale(reason),
        StatusCode::UNPROCESSABLE_ENTITY if reason.starts_with(FAILED_TEST) => WriteError::Stale(reason),
        StatusCode::UNPROCESSABLE_ENTITY | StatusCode::BAD_REQUEST => WriteError::Refused(reason),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => WriteError::Forbidden(reason),
        StatusCode::TOO_MANY_REQUESTS => WriteError::Throttled { reason, retry_after },
        _ if retry_after.is_some() => WriteError::Throttled { reason, retry_after },
        _ => WriteError::Failed(reason),
    }
}

#[cfg(test)]
mod tests {
    use replica_count_core::replicas::Replicas;

    use super::*;

    #[track_caller]
    fn check(from: i32, to: i32, expected: &Value) {
        let count = |n| Replicas::new(n).expect("valid");
        let target = Target::deployment("shop", "web").expect("valid");
        let repair = Repair { uid: "u".into(), from: count(from), to: count(to), generation: 1, drift: None };
        let request = request(&target, &repair).expect("a valid request");
        assert_eq!(request.method(), "PATCH");
        let uri = "/apis/apps/v1/namespaces/shop/deployments/web/scale?fieldManager=replica-count-manager";
        assert_eq!(request.uri(), uri);
        let body: Value = serde_json::from_slice(request.body()).expect("JSON");
        assert_eq!(&body, expected);
    }

    #[test]
    fn tests_the_observed_state_before_writing() {
        check(
            5,
            0,
            &json!([
                { "op": "test", "path": "/metadata/uid", "value": "u" },
                { "op": "test", "path": "/spec/replicas", "value": 5 },
                { "op": "add", "path": "/spec/replicas", "value": 0 },
            ]),
        );
        check(
            0,
            5,
            &json!([
                { "op": "test", "path": "/metadata/uid", "value": "u" },
                { "op": "test", "path": "/spec/replicas", "value": null },
                { "op": "add", "path": "/spec/replicas", "value": 5 },
            ]),
        );
    }

    fn head(status: u16, retry_after: Option<&str>) -> Parts {
        let mut response = http::Response::builder().status(status);
        if let Some(retry_after) = retry_after {
            response = response.header(header::RETRY_AFTER, retry_after);
        }
        response.body(()).expect("valid").into_parts().0
    }

    #[track_caller]
    fn check_refusal(status: u16, retry_after: Option<&str>, body: &str, expected: &str) {
        let error = refusal(&head(status, retry_after), body.as_bytes());
        assert_eq!(format!("{} {error}", error.failure().as_str()), expected);
    }

    #[test]
    fn a_failed_test_is_distinguished_from_a_policy() {
        let failed_test = r#"{"kind":"Status","message":"the server rejected our request due to an error in our request",
            "reason":"Invalid","details":{},"code":422}"#;
        let stale =
            "stale it has changed meanwhile: the server rejected our request due to an error in our request";
        check_refusal(422, None, failed_test, stale);
        let policy = r#"{"kind":"Status","message":"deployments.apps \"web\" is forbidden: policy 'max' denied request",
            "reason":"Invalid","details":{"causes":[{"message":"too many"}]},"code":422}"#;
        let refused = "refused the API server or a policy in it refuses: deployments.apps \"web\" is forbidden: policy \
                       'max' denied request";
        check_refusal(422, None, policy, refused);
    }

    #[test]
    fn retry_after_is_read_from_the_header() {
        let text = "Too many requests, please try again later.";
        let error = refusal(&head(429, Some("7")), text.as_bytes());
        let WriteError::Throttled { reason, retry_after } = error else { panic!("{error:?}") };
        assert_eq!(retry_after, Some(Duration::from_secs(7)));
        assert!(reason.ends_with(text), "{reason}");
        check_refusal(
            429,
            None,
            text,
            &format!("throttled the API server asks to wait: 429 Too Many Requests: {text}"),
        );
        check_refusal(503, Some("1"), "", "throttled the API server asks to wait: 503 Service Unavailable: ");
        check_refusal(503, None, "", "failed the API server failed: 503 Service Unavailable: ");
    }
}
