//! Whether what is known of the cluster is what is.

use std::time::Duration;

use replica_count_core::kind::Kind;
use tokio::time::Instant;

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// Workloads of a kind.
    Workloads(Kind),
    /// Autoscalers, without which the server can go on.
    Autoscalers,
}

impl Watched {
    /// The name of the resource.
    pub fn resource(self) -> &'static str {
        match self {
            Self::Workloads(kind) => kind.resource(),
            Self::Autoscalers => "horizontalpodautoscalers",
        }
    }
}

/// Whether what is known is what is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// The first listing is not complete.
    #[default]
    Unread,
    /// The first listing is not complete, and the API server refuses it: a right is missing.
    Refused,
    /// The watch is open.
    Live,
    /// The watch is broken.
    Stale {
        /// When the API server was last heard.
        since: Instant,
    },
}

impl Freshness {
    /// Whether the first listing is complete.
    pub fn is_read(self) -> bool {
        match self {
            Self::Unread | Self::Refused => false,
            Self::Live | Self::Stale { .. } => true,
        }
    }

    /// How old what is known is at `now`, if nothing was known at `start`.
    pub fn age(self, start: Instant, now: Instant) -> Duration {
        match self {
            Self::Unread | Self::Refused => now.saturating_duration_since(start),
            Self::Live => Duration::ZERO,
            Self::Stale { since } => now.saturating_duration_since(since),
        }
    }

    /// How old what is known is at `now`, while the watch is broken.
    pub fn stale_for(self, now: Instant) -> Option<Duration> {
        match self {
            Self::Stale { since } => Some(now.saturating_duration_since(since)),
            Self::Unread | Self::Refused | Self::Live => None,
        }
    }
}
