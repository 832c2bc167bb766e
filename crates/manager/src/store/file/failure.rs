//! What callers are told when the file cannot be written.

use std::sync::Arc;

use super::queue::QUEUE_CHANGES;
use crate::store::error::{BackendError, BackendReason, StoreError};

pub(super) fn full() -> StoreError {
    failure(BackendReason::Full, "nothing was stored: the disk of the settings file is full")
}

pub(super) fn too_many() -> StoreError {
    let words = "nothing was stored: there is no room for more settings; delete those that are not needed";
    failure(BackendReason::TooMany, words)
}

/// `cause` is what the operating system says.
pub(super) fn unavailable(cause: &str) -> StoreError {
    let cause: Option<Arc<str>> = Some(cause.into());
    let words = "nothing was stored: the settings file cannot be written".into();
    StoreError::Backend(BackendError { reason: BackendReason::Unavailable, words, cause })
}

pub(super) fn uncertain() -> StoreError {
    let words =
        "it is not known whether the change is durable; read the setting, and repeat the change if needed";
    failure(BackendReason::Uncertain, words)
}

pub(super) fn busy() -> StoreError {
    let words = format!("nothing was stored: {QUEUE_CHANGES} changes wait for the disk already; try again");
    StoreError::Backend(BackendError { reason: BackendReason::Busy, words: words.into(), cause: None })
}

pub(super) fn closed() -> StoreError {
    failure(BackendReason::Closed, "nothing was stored: the server is shutting down")
}

fn failure(reason: BackendReason, words: &'static str) -> StoreError {
    StoreError::Backend(BackendError { reason, words: words.into(), cause: None })
}
