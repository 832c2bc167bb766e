//! The errors for callers when the file cannot be written.

use std::sync::Arc;

use super::queue::QUEUE_CHANGES;
use crate::store::error::{BackendError, BackendReason, StoreError};

pub(super) fn full() -> StoreError {
    failure(BackendReason::Full, "nothing was stored: the disk of the settings file is full")
}

pub(super) fn too_many() -> StoreError {
    let message =
        "nothing was stored: the size limit of the settings is reached; delete those that are not needed";
    failure(BackendReason::TooMany, message)
}

/// `cause` is the error of the operating system.
pub(super) fn unavailable(cause: &str) -> StoreError {
    let cause: Option<Arc<str>> = Some(cause.into());
    let message = "nothing was stored: the settings file cannot be written".into();
    StoreError::Backend(BackendError { reason: BackendReason::Unavailable, message, cause })
}

pub(super) fn uncertain() -> StoreError {
    let message =
        "it is not known whether the change is durable; read the setting, and repeat the change if needed";
    failure(BackendReason::Uncertain, message)
}

pub(super) fn busy() -> StoreError {
    let message =
        format!("nothing was stored: {QUEUE_CHANGES} changes are already waiting for the disk; try again");
    StoreError::Backend(BackendError { reason: BackendReason::Busy, message: message.into(), cause: None })
}

pub(super) fn closed() -> StoreError {
    failure(BackendReason::Closed, "nothing was stored: the server is shutting down")
}

fn failure(reason: BackendReason, message: &'static str) -> StoreError {
    StoreError::Backend(BackendError { reason, message: message.into(), cause: None })
}
