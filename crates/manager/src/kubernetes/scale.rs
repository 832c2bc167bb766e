//! The only code that writes to Deployments.

use std::time::Duration;

use http::{Request, header};
use k8s_openapi::api::autoscaling::v1::Scale;
use kube::{Client, Resource};
use replica_count_core::decide::{FIELD_MANAGER, Repair};
use replica_count_core::target::Target;
use serde_json::{Value, json};

use super::deployment::SlimDeployment;

/// How long one write may take: less than anything that waits for its outcome.
const WRITE_DEADLINE: Duration = Duration::from_secs(5);

/// Why a write did not succeed.
#[derive(Debug, thiserror::Error)]
pub enum WriteError {
    /// The Deployment is not what the write was decided on: it changed, or it is gone. The watch will tell.
    #[error("the Deployment has changed meanwhile: {0}")]
    Stale(String),
    /// The API server asks to wait.
    #[error("the API server asks to wait: {reason}")]
    Throttled {
        /// Its words.
        reason: String,
        /// How long it asks to wait.
        retry_after: Option<Duration>,
    },
    /// This server lacks the right.
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
    /// All words that `reason` has.
    pub const REASONS: [&'static str; 7] =
        ["stale", "throttled", "forbidden", "refused", "failed", "unreachable", "deadline"];

    /// A stable word for metrics.
    pub fn reason(&self) -> &'static str {
        match self {
            Self::Stale(_) => "stale",
            Self::Throttled { .. } => "throttled",
            Self::Forbidden(_) => "forbidden",
            Self::Refused(_) => "refused",
            Self::Failed(_) => "failed",
            Self::Unreachable(_) => "unreachable",
            Self::Deadline => "deadline",
        }
    }
}

/// Writes the desired count, if the Deployment still is what the repair was decided on.
///
/// Returns the version that the write made, if comparable.
pub async fn write(client: &Client, target: &Target, repair: &Repair) -> Result<Option<u64>, WriteError> {
    let request = request(target, repair).map_err(|error| WriteError::Failed(error.to_string()))?;
    let answer = tokio::time::timeout(WRITE_DEADLINE, client.request::<Scale>(request));
    match answer.await {
        Ok(Ok(scale)) => Ok(scale.metadata.resource_version.and_then(|version| version.parse().ok())),
        Ok(Err(error)) => Err(error.into()),
        Err(_elapsed) => Err(WriteError::Deadline),
    }
}

/// A JSON Patch that tests the uid and the count that was seen, and only then sets the desired one.
///
/// A Scale of 0 has no `replicas` at all. `test` with `null` passes exactly then, and `add` sets a member whether or not
/// it is there, so this one shape works for every pair of counts.
fn request(target: &Target, repair: &Repair) -> Result<Request<Vec<u8>>, http::Error> {
    let seen = match repair.from.get() {
        0 => Value::Null,
        count => count.into(),
    };
    let patch = json!([
        { "op": "test", "path": "/metadata/uid", "value": repair.uid },
        { "op": "test", "path": "/spec/replicas", "value": seen },
        { "op": "add", "path": "/spec/replicas", "value": repair.to.get() },
    ]);
    let deployments = SlimDeployment::url_path(&(), Some(target.namespace()));
    Request::patch(format!("{deployments}/{}/scale?fieldManager={FIELD_MANAGER}", target.name()))
        .header(header::ACCEPT, "application/json")
        .header(header::CONTENT_TYPE, "application/json-patch+json")
        .body(patch.to_string().into_bytes())
}

impl From<kube::Error> for WriteError {
    fn from(error: kube::Error) -> Self {
        let status = match error {
            kube::Error::Api(status) => *status,
            other => return Self::Unreachable(other.to_string()),
        };
        let retry_after = status.details.as_ref().map_or(0, |details| details.retry_after_seconds);
        let retry_after = (retry_after > 0).then(|| Duration::from_secs(retry_after.into()));
        let reason = status.message;
        match status.code {
            404 | 409 | 422 => Self::Stale(reason),
            429 => Self::Throttled { reason, retry_after },
            401 | 403 => Self::Forbidden(reason),
            _ if retry_after.is_some() => Self::Throttled { reason, retry_after },
            _ => Self::Failed(reason),
        }
    }
}

#[cfg(test)]
mod tests {
    use replica_count_core::replicas::Replicas;

    use super::*;

    #[track_caller]
    fn check(from: i32, to: i32, expected: &Value) {
        let count = |n| Replicas::new(n).expect("valid");
        let target = Target::new("shop", "web").expect("valid");
        let repair = Repair { uid: "u".into(), from: count(from), to: count(to), drift: None };
        let request = request(&target, &repair).expect("a valid request");
        assert_eq!(request.method(), "PATCH");
        let uri = "/apis/apps/v1/namespaces/shop/deployments/web/scale?fieldManager=replica-count-manager";
        assert_eq!(request.uri(), uri);
        let body: Value = serde_json::from_slice(request.body()).expect("JSON");
        assert_eq!(&body, expected);
    }

    #[test]
    fn tests_what_was_seen_before_it_writes() {
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
}
