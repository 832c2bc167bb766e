//! The errors for callers when an object cannot be written.

use std::borrow::Cow;
use std::sync::Arc;

use super::queue::QUEUE_CHANGES;
use crate::kubernetes::replica_count::{Missing, RequestError};
use crate::store::error::{BackendError, BackendReason, StoreError};

/// The error for a request that failed for good, and whether the store itself is the reason.
pub(super) fn of_request(error: RequestError) -> (StoreError, bool) {
    match error {
        RequestError::NoNamespace(message) => {
            (failure(BackendReason::NoNamespace, format!("nothing was stored: {message}"), None), false)
        }
        RequestError::Refused(message) => {
            let message = format!("nothing was stored: the Kubernetes API server refused: {message}");
            (failure(BackendReason::Refused, message, None), false)
        }
        error @ RequestError::UnknownField(_) => {
            (failure(BackendReason::Refused, format!("nothing was stored: {error}"), None), true)
        }
        RequestError::NotInstalled => {
            let cause = Missing::Definition.to_string();
            let message = "nothing was stored: the Kubernetes API server does not know ReplicaCounts";
            (failure(BackendReason::Unavailable, message, Some(cause)), true)
        }
        RequestError::Forbidden(cause) => {
            let message = "nothing was stored: this server may not write ReplicaCounts";
            (failure(BackendReason::Unavailable, message, Some(cause)), true)
        }
        RequestError::NotSent(cause) => {
            let message = "nothing was stored: the Kubernetes API server cannot be reached";
            (failure(BackendReason::Unavailable, message, Some(cause)), true)
        }
        RequestError::Throttled { message: cause, .. } => {
            let message = "nothing was stored: the Kubernetes API server is overloaded; try again";
            (failure(BackendReason::Busy, message, Some(cause)), false)
        }
        RequestError::Conflict(cause) => (contended(Some(cause)), false),
        RequestError::NotFound => (contended(None), false),
        RequestError::Unknown(cause) => (uncertain(Some(cause)), true),
    }
}

pub(super) fn uncertain(cause: Option<String>) -> StoreError {
    let message =
        "it is not known whether the change was stored; read the setting, and repeat the change if needed";
    failure(BackendReason::Uncertain, message, cause)
}

/// Others change the same object all the time.
pub(super) fn contended(cause: Option<String>) -> StoreError {
    let message = "nothing was stored: others keep changing the same ReplicaCount; try again";
    failure(BackendReason::Busy, message, cause)
}

pub(super) fn unread() -> StoreError {
    let message = "nothing was stored: the settings have not been read yet; try again shortly";
    failure(BackendReason::Unread, message, None)
}

pub(super) fn busy() -> StoreError {
    let message = format!(
        "nothing was stored: {QUEUE_CHANGES} changes are already waiting for the API server; try again"
    );
    failure(BackendReason::Busy, message, None)
}

/// The change waited until its deadline.
pub(super) fn late() -> StoreError {
    let message = "nothing was stored: the change waited too long for those before it; try again";
    failure(BackendReason::Busy, message, None)
}

pub(super) fn closed() -> StoreError {
    failure(BackendReason::Closed, "nothing was stored: the server is shutting down", None)
}

fn failure(
    reason: BackendReason,
    message: impl Into<Cow<'static, str>>,
    cause: Option<String>,
) -> StoreError {
    let cause = cause.map(Arc::from);
    StoreError::Backend(BackendError { reason, message: message.into(), cause })
}
