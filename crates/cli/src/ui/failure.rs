//! Why a call of the page failed, as JSON.

use axum::body::Body;
use axum::http::{Response, StatusCode};
use replica_count_client::describe::chain;
use serde::Serialize;
use std::error::Error as _;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use super::page::answer;

/// A failure, for the page.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Failure {
    /// The code of gRPC, such as `PermissionDenied`.
    pub(super) code: String,
    /// A stable word, such as `NOT_AUTHORIZED`. Empty: the server has given none.
    pub(super) reason: String,
    /// What was wrong, for people.
    pub(super) message: String,
}

impl Failure {
    /// The page has sent something that is no request.
    pub(super) fn invalid(message: String) -> Self {
        Self { code: "InvalidArgument".to_owned(), reason: String::new(), message }
    }

    /// It as an answer. The status of HTTP says only whether the request, the server, or the way to it is at fault.
    pub(super) fn answer(&self) -> Response<Body> {
        let status = match self.code.as_str() {
            "InvalidArgument" => StatusCode::BAD_REQUEST,
            "Unavailable" | "DeadlineExceeded" => StatusCode::BAD_GATEWAY,
            _ => StatusCode::CONFLICT,
        };
        answer(status, "application/json", json(self))
    }
}

impl From<Status> for Failure {
    fn from(status: Status) -> Self {
        let reason = status.get_details_error_info().map(|info| info.reason).unwrap_or_default();
        // The transport puts the reason into the sources.
        let (code, message) = match status.source() {
            Some(source) => (Code::Unavailable, format!("the server cannot be reached: {}", chain(source))),
            None => (status.code(), status.message().to_owned()),
        };
        Self { code: format!("{code:?}"), reason, message }
    }
}

/// A value as JSON.
pub(super) fn json(value: &impl Serialize) -> String {
    serde_json::to_string(value).expect("the shapes of the page have only keys that are texts")
}
