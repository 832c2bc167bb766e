//! Writes of guards. A guard has one writer: whoever enforces the counts.

use std::time::Duration;

use http::{Method, Request, StatusCode, header};
use kube::Client;
use replica_count_core::own_writes::FIELD_MANAGER;
use serde::Deserialize;
use serde_json::json;
use tokio::time::timeout;

use super::object::{API_VERSION, Guard, Identity, KIND, ReplicaGuard, Spec};
use crate::kubernetes::{cause, path};

/// How long one request may take: writing 5,000 counts takes a third of a second.
pub const DEADLINE: Duration = Duration::from_secs(5);

/// Why a request about guards failed.
#[derive(Debug, thiserror::Error)]
pub enum GuardError {
    /// The namespace does not exist or is being deleted, or the API server has no guards.
    #[error("{0}")]
    NoPlace(String),
    /// The guard has changed since it was observed.
    #[error("{0}")]
    Changed(String),
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
            kube::Error::Api(status) if status.code == StatusCode::CONFLICT => {
                Self::Changed(status.message.clone())
            }
            kube::Error::Api(status) => Self::Refused { code: status.code, message: status.message.clone() },
            other => Self::Unreachable(cause::chain(&other)),
        }
    }
}

/// Makes the guard of a namespace hold this within `time`, whoever changed it. Returns what it holds then.
pub async fn apply(
    client: &Client,
    namespace: &str,
    name: &str,
    guard: &Guard,
    time: Duration,
) -> Result<ReplicaGuard, GuardError> {
    let object = json!({
        "apiVersion": API_VERSION,
        "kind": KIND,
        "metadata": { "name": name, "namespace": namespace },
        "spec": Spec::from(guard),
    });
    let (path, timeout) = (path::guards(Some(namespace)), time.as_millis());
    let uri = format!("{path}/{name}?fieldManager={FIELD_MANAGER}&force=true&timeout={timeout}ms");
    let request = Request::patch(uri)
        .header(header::CONTENT_TYPE, "application/apply-patch+yaml")
        .body(object.to_string().into_bytes());
    send(client, request).await
}

/// Deletes the guard of a namespace, if it is still this version of this object.
pub async fn delete(
    client: &Client,
    namespace: &str,
    name: &str,
    identity: &Identity,
) -> Result<(), GuardError> {
    match send::<serde_json::Value>(client, deletion(namespace, name, identity)).await {
        Ok(_) | Err(GuardError::NoPlace(_)) => Ok(()),
        Err(error) => Err(error),
    }
}

fn deletion(namespace: &str, name: &str, identity: &Identity) -> http::Result<Request<Vec<u8>>> {
    let options = json!({ "apiVersion": "v1", "kind": "DeleteOptions", "preconditions": identity });
    Request::builder()
        .method(Method::DELETE)
        .uri(format!("{}/{name}", path::guards(Some(namespace))))
        .header(header::CONTENT_TYPE, "application/json")
        .body(options.to_string().into_bytes())
}

/// The namespaces of all guards of this name, and which objects they are.
pub async fn list(
    client: &Client,
    namespace: Option<&str>,
    name: &str,
) -> Result<Vec<(String, Identity)>, GuardError> {
    #[derive(Deserialize)]
    struct List {
        items: Vec<ReplicaGuard>,
    }
    let uri = format!("{}?fieldSelector=metadata.name%3D{name}", path::guards(namespace));
    // Without their counts, which may be many.
    let request = Request::get(uri)
        .header(header::ACCEPT, "application/json;as=PartialObjectMetadataList;g=meta.k8s.io;v=v1")
        .body(Vec::new());
    let List { items } = send(client, request).await?;
    Ok(items.iter().map(|guard| (guard.key().0.to_owned(), guard.identity())).collect())
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_observed_object_is_deleted() {
        let identity = Identity { uid: "u-1".into(), resource_version: Some("7".into()) };
        let request = deletion("shop", "g", &identity).expect("valid");
        let body: serde_json::Value = serde_json::from_slice(request.body()).expect("JSON");
        assert_eq!(body["preconditions"], json!({ "uid": "u-1", "resourceVersion": "7" }));
    }

    #[test]
    fn an_object_that_has_changed_is_told_from_a_refusal() {
        let status = |code, message: &str| {
            let status = kube::core::Status::failure(message, "").with_code(code);
            GuardError::from(kube::Error::Api(status.boxed()))
        };
        assert!(matches!(status(409, "Precondition failed"), GuardError::Changed(_)));
        assert!(matches!(status(403, "no"), GuardError::Refused { code: 403, .. }));
        assert!(matches!(status(403, "namespace shop is being terminated"), GuardError::NoPlace(_)));
        assert!(matches!(status(404, "not found"), GuardError::NoPlace(_)));
    }
}
