//! Why a change is not stored, in words that hold for every backend.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;

use replica_count_core::change::ChangeError;

/// Why a change is not stored, or not known to be.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum StoreError {
    /// The rules of settings refused the change.
    #[error(transparent)]
    Change(#[from] ChangeError),
    /// The backend did not store the change, or does not know whether it did.
    #[error(transparent)]
    Backend(BackendError),
}

/// A failure of a backend.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct BackendError {
    /// What kind of failure.
    pub reason: BackendReason,
    /// What callers are told.
    pub words: Cow<'static, str>,
    /// What caused it, for the log only.
    pub cause: Option<Arc<str>>,
}

/// What kind of failure a backend had.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum BackendReason {
    /// There is no room for settings. Nothing was stored.
    Full,
    /// The settings take as much room as they may. Nothing was stored.
    TooMany,
    /// Settings cannot be written. Nothing was stored.
    Unavailable,
    /// The change is in force, but may be gone after a crash.
    Uncertain,
    /// Too many changes wait. Nothing was stored.
    Busy,
    /// The store takes no more changes, because the server ends. Nothing was stored.
    Closed,
}

impl StoreError {
    /// What kind of failure the backend had, if it was one.
    pub fn backend_reason(&self) -> Option<BackendReason> {
        match self {
            Self::Change(_) => None,
            Self::Backend(error) => Some(error.reason),
        }
    }
}

impl fmt::Display for BackendError {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.write_str(&self.words)?;
        match &self.cause {
            Some(cause) => write!(formatter, " ({cause})"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for BackendError {}
