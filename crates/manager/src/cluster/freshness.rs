//! How fresh the observed state of the cluster is.

use std::time::Duration;

use replica_count_core::kind::Kind;
use tokio::time::Instant;

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// Workloads of a kind.
    Workloads(Kind),
    /// Autoscalers, without which the server also works.
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

/// How fresh the observed state is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// The first listing is not complete.
    #[default]
    Unread,
    /// The API server refuses the watch: a permission is missing. Nothing is known.
    Refused,
    /// The watch is open.
    Live,
    /// The watch is broken.
    Stale {
        /// When the last data arrived from the API server.
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

    /// The age of the observed state at `now`. Before the first listing, it counts from `start`.
    pub fn age(self, start: Instant, now: Instant) -> Duration {
        match self {
            Self::Unread | Self::Refused => now.saturating_duration_since(start),
            Self::Live => Duration::ZERO,
            Self::Stale { since } => now.saturating_duration_since(since),
        }
    }

    /// The age of the observed state at `now`. `None`: the watch is not broken.
    pub fn stale_for(self, now: Instant) -> Option<Duration> {
        match self {
            Self::Stale { since } => Some(now.saturating_duration_since(since)),
            Self::Unread | Self::Refused | Self::Live => None,
        }
    }
}
