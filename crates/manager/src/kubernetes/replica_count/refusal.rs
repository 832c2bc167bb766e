//! Why a request about ReplicaCounts failed.

use std::time::Duration;

use http::StatusCode;
use http::response::Parts;
use kube::core::Status;

use super::definition::INSTALL_COMMAND;
use crate::kubernetes::cause::{Cause, chain};
use crate::kubernetes::retry_after;

/// The longest message that is kept, in bytes: the API server may repeat whole objects.
const LONGEST_MESSAGE: usize = 1024;

/// What the API server says, with the status 400 or 422, of a field that the definition does not have. (What it repeats of the
/// object before that has its quotes escaped.)
const UNKNOWN_FIELD: &str = "strict decoding error: unknown field \"";

/// Why a request failed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RequestError {
    /// The object is not what the request expected: it has changed, or exists.
    #[error("{0}")]
    Conflict(String),
    /// The object does not exist.
    #[error("it does not exist")]
    NotFound,
    /// The namespace does not exist, or is being deleted.
    #[error("{0}")]
    NoNamespace(String),
    /// The API server does not know ReplicaCounts.
    #[error("the API server does not know ReplicaCounts")]
    NotInstalled,
    /// The definition has no such field: it is older than this server.
    #[error(
        "the ReplicaCounts of the API server have no {0}: their definition is older than this server; upgrade it: \
         {INSTALL_COMMAND}"
    )]
    UnknownField(String),
    /// A rule of the definition, an admission policy or a quota refuses it.
    #[error("{0}")]
    Refused(String),
    /// A permission is missing.
    #[error("{0}")]
    Forbidden(String),
    /// The API server asks to wait.
    #[error("{message}")]
    Throttled {
        /// What it said.
        message: String,
        /// How long.
        retry_after: Duration,
    },
    /// The request was not sent.
    #[error("{0}")]
    NotSent(String),
    /// It may have been carried out.
    #[error("{0}")]
    Unknown(String),
}

impl RequestError {
    /// The error of an answer.
    pub(super) fn of_answer(head: &Parts, body: &[u8]) -> Self {
        let status = serde_json::from_slice::<Status>(body).ok();
        let kind = status.as_ref().and_then(|status| Some(status.details.as_ref()?.kind.clone()));
        let mut message = match &status {
            Some(status) if !status.message.is_empty() => status.message.clone(),
            Some(_) | None => format!("{}: {}", head.status, String::from_utf8_lossy(body).trim()),
        };
        if let Some(field) = unknown_field(head.status, &message) {
            return Self::UnknownField(field.to_owned());
        }
        message.truncate(message.floor_char_boundary(LONGEST_MESSAGE));
        match head.status {
            StatusCode::NOT_FOUND if kind.as_deref() == Some("namespaces") => Self::NoNamespace(message),
            // Without an object in it, it is the path that is not known.
            StatusCode::NOT_FOUND => match kind {
                Some(kind) if !kind.is_empty() => Self::NotFound,
                Some(_) | None => Self::NotInstalled,
            },
            StatusCode::FORBIDDEN if message.contains("is being terminated") => Self::NoNamespace(message),
            StatusCode::UNAUTHORIZED => Self::Forbidden(message),
            StatusCode::FORBIDDEN if is_missing_right(&message) => Self::Forbidden(message),
            StatusCode::CONFLICT => Self::Conflict(message),
            StatusCode::TOO_MANY_REQUESTS => {
                let retry_after = retry_after::of(&head.headers).unwrap_or(Duration::from_secs(1));
                Self::Throttled { message, retry_after }
            }
            status if status.is_client_error() => Self::Refused(message),
            _ => Self::Unknown(message),
        }
    }

    /// The error if there was no answer.
    pub(super) fn of_silence(error: &kube::Error) -> Self {
        let text = chain(error);
        match Cause::of(error) {
            Cause::Credentials
            | Cause::Proxy
            | Cause::Dns
            | Cause::Refused
            | Cause::Unreachable
            | Cause::Untrusted => Self::NotSent(text),
            Cause::Unauthorized
            | Cause::Forbidden
            | Cause::Tls
            | Cause::Timeout
            | Cause::Overloaded
            | Cause::Server
            | Cause::Other => Self::Unknown(text),
        }
    }
}

/// The first field that the definition does not have.
fn unknown_field(status: StatusCode, message: &str) -> Option<&str> {
    let is_strict = matches!(status, StatusCode::BAD_REQUEST | StatusCode::UNPROCESSABLE_ENTITY);
    let (_, fields) = message.rsplit_once(UNKNOWN_FIELD).filter(|_| is_strict)?;
    fields.split('"').next()
}

/// Whether a refusal is that of RBAC. Admission answers 403, too.
fn is_missing_right(message: &str) -> bool {
    message.contains(" cannot ") && message.contains(" resource ") && !message.contains("denied request")
}

#[cfg(test)]
mod tests {
    use http::Response;
    use serde_json::json;

    use super::*;

    #[track_caller]
    fn check(code: u16, body: &str, is_expected: impl FnOnce(&RequestError) -> bool) {
        let (head, ()) = Response::builder().status(code).body(()).expect("valid").into_parts();
        let error = RequestError::of_answer(&head, body.as_bytes());
        assert!(is_expected(&error), "{code} {body}: {error:?}");
    }

    fn status(message: &str, kind: &str) -> String {
        json!({ "kind": "Status", "message": message, "details": { "name": "web", "kind": kind } })
            .to_string()
    }

    #[test]
    fn an_answer_says_what_is_missing() {
        let gone = status("replicacounts.replicacount.dev \"web\" not found", "replicacounts");
        check(404, &gone, |error| *error == RequestError::NotFound);
        check(404, &status("namespaces \"a\" not found", "namespaces"), |error| {
            matches!(error, RequestError::NoNamespace(_))
        });
        check(404, "404 page not found\n", |error| *error == RequestError::NotInstalled);
        let unknown = json!({ "kind": "Status", "message": "the server could not find the requested resource", "details": {} });
        check(404, &unknown.to_string(), |error| *error == RequestError::NotInstalled);
        let right = "replicacounts.replicacount.dev is forbidden: User \"x\" cannot create resource \"replicacounts\" in API group \"replicacount.dev\" in the namespace \"a\"";
        check(403, &status(right, "replicacounts"), |error| matches!(error, RequestError::Forbidden(_)));
        let denied = "admission webhook \"x\" denied the request: you cannot use this resource here";
        check(403, &status(&denied.replace("the request", "request"), ""), |error| {
            matches!(error, RequestError::Refused(_))
        });
        let terminating = "unable to create new content in namespace a because it is being terminated";
        check(403, &status(terminating, ""), |error| matches!(error, RequestError::NoNamespace(_)));
        check(409, &status("exists", ""), |error| matches!(error, RequestError::Conflict(_)));
        check(422, &status("spec.replicas: Invalid", ""), |error| matches!(error, RequestError::Refused(_)));
        let created = "ReplicaCount in version \"v1alpha1\" cannot be handled as a ReplicaCount: strict decoding error: unknown field \"spec.temporary\", unknown field \"spec.x\"";
        let long = "n".repeat(2 * LONGEST_MESSAGE);
        let patched = format!(
            " \"\" is invalid: patch: Invalid value: \"{{\\\"reason\\\":\\\"strict decoding error: unknown field \\\\\"spec.y{long}\": strict decoding error: unknown field \"spec.temporary\""
        );
        for (code, message) in [(400, created), (422, &*patched)] {
            check(code, &status(message, ""), |error| {
                *error == RequestError::UnknownField("spec.temporary".to_owned())
            });
        }
        check(429, "", |error| matches!(error, RequestError::Throttled { .. }));
        check(504, "", |error| matches!(error, RequestError::Unknown(_)));
    }
}
