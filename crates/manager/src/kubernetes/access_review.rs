//! Asks the API server what a user may do.

use std::collections::BTreeMap;
use std::time::Duration;

use http::{Request, StatusCode};
use kube::Client;
use replica_count_core::authorization::{GROUP, Question, RESOURCE, Verdict};
use serde::{Deserialize, Serialize};
use tokio::time::timeout;
use tracing::debug;

use super::cause::chain;

/// How long one question may take.
const DEADLINE: Duration = Duration::from_secs(3);
const PATH: &str = "/apis/authorization.k8s.io/v1/subjectaccessreviews";

/// Who would do something.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Subject {
    /// The user.
    pub user: String,
    /// All of their groups.
    pub groups: Vec<String>,
    /// What else is known of them.
    pub extra: BTreeMap<&'static str, Vec<String>>,
}

/// Why there is no answer. Each message is one line.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReviewError {
    /// This server may not ask.
    #[error("this server lacks the right to create subjectaccessreviews.authorization.k8s.io")]
    Forbidden,
    /// The API server did not answer in time.
    #[error("the Kubernetes API server did not answer within {DEADLINE:?}")]
    Deadline,
    /// The API server could not be reached, or failed.
    #[error("the request to the Kubernetes API server failed: {0}")]
    Failed(String),
}

/// Asks what a user may do.
pub trait Review: Send + Sync + 'static {
    /// Whether the rules allow this. Asks once.
    fn review(
        &self,
        subject: &Subject,
        question: &Question,
    ) -> impl Future<Output = Result<Verdict, ReviewError>> + Send;
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Sent<'a> {
    api_version: &'static str,
    kind: &'static str,
    spec: Spec<'a>,
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Spec<'a> {
    #[serde(flatten)]
    subject: &'a Subject,
    resource_attributes: Attributes<'a>,
}

#[derive(Serialize)]
struct Attributes<'a> {
    group: &'static str,
    resource: &'static str,
    verb: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    namespace: Option<&'a str>,
    #[serde(skip_serializing_if = "Option::is_none")]
    name: Option<&'a str>,
}

#[derive(Deserialize)]
struct Received {
    status: Status,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Status {
    allowed: bool,
    #[serde(default)]
    evaluation_error: String,
}

impl Review for Client {
    async fn review(&self, subject: &Subject, question: &Question) -> Result<Verdict, ReviewError> {
        let request = Request::post(PATH).header(http::header::CONTENT_TYPE, "application/json");
        let request = request.body(body(subject, question)).expect("the path is valid");
        let answer = timeout(DEADLINE, self.request::<Received>(request));
        let Received { status } =
            answer.await.map_err(|_elapsed| ReviewError::Deadline)?.map_err(ReviewError::from)?;
        if !status.evaluation_error.is_empty() {
            // The answer is valid: what could not be evaluated allows nothing.
            debug!(user = subject.user, error = status.evaluation_error, "not all rules could be evaluated");
        }
        Ok(if status.allowed { Verdict::Allowed } else { Verdict::Denied })
    }
}

impl From<kube::Error> for ReviewError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) if status.code == StatusCode::FORBIDDEN => Self::Forbidden,
            other => Self::Failed(chain(&other)),
        }
    }
}

fn body(subject: &Subject, question: &Question) -> Vec<u8> {
    let Question { verb, namespace, name } = question;
    let resource_attributes = Attributes {
        group: GROUP,
        resource: RESOURCE,
        verb: verb.as_str(),
        namespace: namespace.as_deref(),
        name: name.as_deref(),
    };
    let spec = Spec { subject, resource_attributes };
    let sent = Sent { api_version: "authorization.k8s.io/v1", kind: "SubjectAccessReview", spec };
    serde_json::to_vec(&sent).expect("a review is valid JSON")
}

#[cfg(test)]
mod tests {
    use replica_count_core::authorization::Access;
    use serde_json::{Value, json};

    use super::*;

    #[track_caller]
    fn check(access: Access<'_>, attributes: &Value) {
        let extra = BTreeMap::from([("key", vec!["value".to_owned()])]);
        let subject = Subject { user: "alice".into(), groups: vec!["ops".into()], extra };
        let sent: Value = serde_json::from_slice(&body(&subject, &access.question())).unwrap();
        let expected = json!({
            "apiVersion": "authorization.k8s.io/v1",
            "kind": "SubjectAccessReview",
            "spec": {
                "user": "alice",
                "groups": ["ops"],
                "extra": { "key": ["value"] },
                "resourceAttributes": attributes,
            },
        });
        assert_eq!(sent, expected);
    }

    #[test]
    fn everything_but_the_resource_is_left_out_where_it_is_not_asked_for() {
        let (group, resource) = ("replicacount.dev", "replicacounts");
        let target = "shop/web".parse().unwrap();
        check(
            Access::Get(&target),
            &json!({
                "group": group, "resource": resource, "verb": "get", "namespace": "shop", "name": "web",
            }),
        );
        check(
            Access::List(Some("shop")),
            &json!({ "group": group, "resource": resource, "verb": "list", "namespace": "shop" }),
        );
        check(Access::List(None), &json!({ "group": group, "resource": resource, "verb": "list" }));
    }
}
