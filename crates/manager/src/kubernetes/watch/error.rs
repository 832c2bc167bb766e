//! Why a watch ends early, and the conversion from answers of the API server.

use std::time::Duration;

use kube::core::Status;
use replica_count_wire::{FrameTooLong, Unreadable};

use crate::kubernetes::retry_after;

/// Why a watch ended early.
#[derive(Debug, thiserror::Error)]
pub(crate) enum WatchError {
    #[error("the version to continue from has expired: {0}")]
    Gone(String),
    #[error("the API server cannot list as a stream: {0}")]
    NoStreamedListing(String),
    #[error("a page of more than {0} bytes")]
    PageTooLong(usize),
    #[error("no data for {0:?}")]
    Silent(Duration),
    #[error("no answer within {0:?}")]
    NoAnswer(Duration),
    #[error("the API server ended it early")]
    EndedEarly,
    #[error("the API server is overloaded: {reason}")]
    Throttled { reason: String, retry_after: Option<Duration> },
    #[error("the API server does not accept the credentials: {0}")]
    Unauthorized(String),
    #[error("the permission is missing, or the API server does not know the resource: {0}")]
    Forbidden(String),
    #[error(transparent)]
    Kube(kube::Error),
    #[error("what the API server sent cannot be decoded: {0}")]
    Unreadable(String),
    #[error("{0}")]
    Status(String),
}

impl WatchError {
    /// All values of `reason`.
    pub(crate) const REASONS: [&'static str; 12] = [
        "gone",
        "no_streamed_listing",
        "page_too_long",
        "silent",
        "no_answer",
        "ended_early",
        "throttled",
        "unauthorized",
        "forbidden",
        "connection",
        "unreadable",
        "status",
    ];

    /// Its stable name in metrics.
    pub(crate) fn reason(&self) -> &'static str {
        match self {
            Self::Gone(_) => "gone",
            Self::NoStreamedListing(_) => "no_streamed_listing",
            Self::PageTooLong(_) => "page_too_long",
            Self::Silent(_) => "silent",
            Self::NoAnswer(_) => "no_answer",
            Self::EndedEarly => "ended_early",
            Self::Throttled { .. } => "throttled",
            Self::Unauthorized(_) => "unauthorized",
            Self::Forbidden(_) => "forbidden",
            Self::Kube(_) => "connection",
            Self::Unreadable(_) => "unreadable",
            Self::Status(_) => "status",
        }
    }
}

impl From<kube::Error> for WatchError {
    fn from(error: kube::Error) -> Self {
        match error {
            kube::Error::Api(status) => (*status).into(),
            other => Self::Kube(other),
        }
    }
}

impl From<Unreadable> for WatchError {
    fn from(error: Unreadable) -> Self {
        Self::Unreadable(error.to_string())
    }
}

impl From<FrameTooLong> for WatchError {
    fn from(error: FrameTooLong) -> Self {
        Self::Unreadable(error.to_string())
    }
}

impl From<serde_json::Error> for WatchError {
    fn from(error: serde_json::Error) -> Self {
        Self::Unreadable(error.to_string())
    }
}

impl From<Status> for WatchError {
    fn from(status: Status) -> Self {
        let text = format!("{} ({})", status.message, status.code);
        let seconds = status.details.map_or(0, |details| details.retry_after_seconds);
        let retry_after = (seconds > 0).then(|| retry_after::of_seconds(seconds.into()));
        match status.code {
            401 => Self::Unauthorized(text),
            // 404: the API server does not serve the kind.
            403 | 404 => Self::Forbidden(text),
            410 => Self::Gone(text),
            429 => Self::Throttled { reason: text, retry_after },
            _ if retry_after.is_some() => Self::Throttled { reason: text, retry_after },
            _ => Self::Status(text),
        }
    }
}
