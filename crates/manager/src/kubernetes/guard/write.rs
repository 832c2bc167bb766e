//! Writes of guards. A guard has one writer: whoever enforces the counts.

use std::time::Duration;

use http::{Method, Request, StatusCode, header};
use kube::Client;
use replica_count_core::own_writes::FIELD_MANAGER;
use serde_json::json;
use tokio::time::timeout;

use super::object::{API_VERSION, Guard, KIND, ReplicaGuard, Spec};
use crate::kubernetes::{cause, path};

/// How long one request may take: writing 5,000 counts takes a third of a second.
const DEADLINE: Duration = Duration::from_secs(5);

/// Why a request about guards failed.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// The namespace does not exist or is being deleted, or the API server has no guards.
    #[error("{0}")]
    NoPlace(String),
    /// The API server refused.
    #[error("{message}")]
    Refused {
        /// The HTTP status.
        code: u16,
        /// Why.
        message: String,
    },
    /// There was no answer.
    #[error("{0}")]
    Unreachable(String),
}

impl From<kube::Error> for GuardError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status)
                if status.code == StatusCode::NOT_FOUND || status.message.contains("is being terminated") =>
            {
                Self::NoPlace(status.message.clone())
            }
            kube::Error::Api(status) => Self::Refused { code: status.code, message: status.message.clone() },
            other => Self::Unreachable(cause::chain(&other)),
        }
    }
}

/// Makes the guard of a namespace hold this, whoever changed it. Returns what it holds then.
pub async fn apply(
    client: &Client,
    namespace: &str,
    name: &str,
    guard: &Guard,
) -> Result<ReplicaGuard, GuardError> {
    let object = json!({
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": { "name": name, "namespace": namespace },
        "spec": Spec::from(guard),
    });
    let uri = format!("{}/{name}?fieldManager={FIELD_MANAGER}&force=true", path::guards(Some(namespace)));
    let request = Request::patch(uri)
        .header(header::CONTENT_TYPE, "application/apply-patch+yaml")
        .body(object.to_string().into_bytes());
    send(client, request).await
}

/// Deletes the guard of a namespace.
pub async fn delete(client: &Client, namespace: &str, name: &str) -> Result<(), GuardError> {
    let request = Request::builder()
        .method(Method::DELETE)
        .uri(format!("{}/{name}", path::guards(Some(namespace))))
        .body(Vec::new());
    match send::<serde_json::Value>(client, request).await {
        Ok(_) | Err(GuardError::NoPlace(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

/// Sends a request and reads the answer.
pub(super) async fn send<T: serde::de::DeserializeOwned>(
    client: &Client,
    request: http::Result<Request<Vec<u8>>>,
) -> Result<T, GuardError> {
    in_time(request, |request| client.request(request)).await
}

/// Sends a request with `send`, and waits for the answer until the deadline.
pub(super) async fn in_time<T>(
    request: http::Result<Request<Vec<u8>>>,
    send: impl AsyncFnOnce(Request<Vec<u8>>) -> kube::Result<T>,
) -> Result<T, GuardError> {
    let request = request.map_err(|error| GuardError::Unreachable(error.to_string()))?;
    let answer = timeout(DEADLINE, send(request)).await;
    let in_time =
        answer.map_err(|_elapsed| GuardError::Unreachable(format!("no answer within {DEADLINE:?}")))?;
    Ok(in_time?)
}
