//! Why a change was not stored, for all backends.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use replica_count_core::change::ChangeError;

/// Why a change was not stored, or why its outcome is unknown.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The rules of settings refused the change.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The backend did not store the change, or does not know the outcome.
    #[error(transparent)]
    Backend(BackendError),
}

/// A failure of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendError {
    /// The kind of failure.
    pub reason: BackendReason,
    /// The message for callers.
    pub message: Cow<'static, str>,
    /// The cause, for the log only.
    pub cause: Option<Arc<str>>,
}

/// The kind of failure of a backend.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendReason {
    /// There is no space left for the settings. Nothing was stored.
    Full,
    /// The settings have reached their size limit. Nothing was stored.
    TooMany,
    /// The settings cannot be written. Nothing was stored.
    Unavailable,
    /// The change is in effect, but may be lost after a crash; or it is not known whether it was stored.
    Uncertain,
    /// The settings have not been read yet. Nothing was stored.
    Unread,
    /// The namespace does not exist, or is being deleted. Nothing was stored.
    NoNamespace,
    /// A rule of others refuses the change. Nothing was stored.
    Refused,
    /// Too many changes are queued. Nothing was stored.
    Busy,
    /// The store does not accept changes, because the server is shutting down. Nothing was stored.
    Closed,
}

impl StoreError {
    /// The kind of failure, if the backend failed.
    pub fn backend_reason(&self) -> Option<BackendReason> {
        match self {
            Self::Change(_) => None,
            Self::Backend(error) => Some(error.reason),
        }
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.message)?;
        match &self.cause {
            Some(cause) => write!(formatter, " ({cause})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for BackendError {}
