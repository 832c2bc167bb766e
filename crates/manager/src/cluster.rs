//! What the watch has shown of the cluster, and how fresh that is. Every read is answered from here.

use std::sync::{PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use replica_count_core::index::Index;
use replica_count_core::observed::{Observation, Observed};
use replica_count_core::replicas::Replicas;
use replica_count_core::target::Target;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Whether what is known is what is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Freshness {
    /// The first listing is not complete.
    #[default]
    Unread,
    /// The watch is open.
    Live,
    /// The watch is broken.
    Stale {
        /// When the API server was last heard.
        since: Instant,
    },
}

/// What the watch has shown.
#[derive(Debug, Default)]
pub struct Cluster {
    inner: RwLock<Inner>,
    listed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    index: Index,
    freshness: Freshness,
}

/// The cluster at one moment. Writers wait while it is held, so it is held shortly.
pub struct View<'a>(RwLockReadGuard<'a, Inner>);

impl View<'_> {
    /// What is known of a target.
    pub fn observation(&self, target: &Target) -> Observation<'_> {
        match (self.0.index.get(target), self.0.freshness) {
            (Some(observed), _) => Observation::Present(observed),
            (None, Freshness::Unread) => Observation::Unread,
            (None, Freshness::Live | Freshness::Stale { .. }) => Observation::Absent,
        }
    }

    /// All that is known, sorted by target.
    pub fn index(&self) -> &Index {
        &self.0.index
    }

    /// Whether it is what is.
    pub fn freshness(&self) -> Freshness {
        self.0.freshness
    }

    /// How old it is, while the watch is broken.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        match self.0.freshness {
            Freshness::Stale { since } => Some(now.saturating_duration_since(since)),
            Freshness::Unread | Freshness::Live => None,
        }
    }
}

impl Cluster {
    /// The cluster as it is known now.
    pub fn view(&self) -> View<'_> {
        View(self.inner.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Takes in a Deployment that was listed, added or changed.
    pub fn insert(&self, target: Target, observed: Observed) {
        self.change(|inner| inner.index.insert(target, observed));
    }

    /// Forgets a Deployment that was deleted.
    pub fn remove(&self, target: &Target, uid: &str) {
        self.change(|inner| inner.index.remove(target, uid));
    }

    /// A full listing begins.
    pub fn begin_listing(&self) {
        self.change(|inner| inner.index.begin_listing());
    }

    /// A full listing is complete; returns the targets that are gone.
    pub fn end_listing(&self) -> Vec<Target> {
        let gone = self.change(|inner| {
            inner.freshness = Freshness::Live;
            inner.index.end_listing()
        });
        self.listed.notify_one();
        gone
    }

    /// Waits for a full listing to complete, from which on what it did not show is known to be absent.
    ///
    /// One that was completed before the call counts if nobody waited for it. For one caller.
    pub async fn listed(&self) {
        self.listed.notified().await;
    }

    /// The watch is open and nothing was missed.
    pub fn set_live(&self) {
        self.change(|inner| inner.freshness = Freshness::Live);
    }

    /// The watch is broken; the API server was last heard at `since`.
    pub fn set_stale(&self, since: Instant) {
        self.change(|inner| match inner.freshness {
            Freshness::Live => inner.freshness = Freshness::Stale { since },
            Freshness::Unread | Freshness::Stale { .. } => {}
        });
    }

    /// Takes note of a count that we wrote; see [`Index::record_write`].
    pub fn record_write(&self, target: &Target, uid: &str, written: u64, replicas: Replicas) {
        self.change(|inner| inner.index.record_write(target, uid, written, replicas));
    }

    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.inner.write().unwrap_or_else(PoisonError::into_inner))
    }
}
