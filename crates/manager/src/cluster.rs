//! What the watches have shown of the cluster, and how fresh that is. Every read is answered from here.

use std::num::NonZeroU64;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};
use std::time::Duration;

use replica_count_core::autoscalers::{Autoscaler, Autoscalers};
use replica_count_core::index::Index;
use replica_count_core::observed::{Observation, Observed};
use replica_count_core::replicas::Replicas;
use replica_count_core::target::Target;
use replica_count_core::uid::Uid;
use tokio::sync::Notify;
use tokio::time::Instant;

/// What is watched.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Watched {
    /// Deployments.
    Deployments,
    /// Autoscalers, without which the server can go on.
    Autoscalers,
}

impl Watched {
    /// As the log has it.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Deployments => "deployments",
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
    /// The same, and the API server refuses it: a right is missing.
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
}

/// What the watches have shown.
#[derive(Debug, Default)]
pub struct Cluster {
    inner: RwLock<Inner>,
    listed: Notify,
}

#[derive(Debug, Default)]
struct Inner {
    index: Index,
    index_freshness: Freshness,
    autoscalers: Autoscalers,
    autoscalers_freshness: Freshness,
}

impl Inner {
    fn freshness(&mut self, watched: Watched) -> &mut Freshness {
        match watched {
            Watched::Deployments => &mut self.index_freshness,
            Watched::Autoscalers => &mut self.autoscalers_freshness,
        }
    }
}

/// The cluster at one moment. Writers wait while it is held, so it is held shortly.
pub struct View<'a>(RwLockReadGuard<'a, Inner>);

impl View<'_> {
    /// What is known of a target.
    pub fn observation(&self, target: &Target) -> Observation<'_> {
        self.0.index.get(target).map_or(self.not_shown(), Observation::Present)
    }

    /// The same for targets that come in their order.
    pub fn observations<'a>(&'a self) -> impl FnMut(&Target) -> Observation<'a> {
        let (mut known, not_shown) = (self.0.index.ascending(), self.not_shown());
        move |target| known(target).map_or(not_shown, Observation::Present)
    }

    /// What is known of a target that the watch has not shown.
    fn not_shown(&self) -> Observation<'static> {
        if self.0.index_freshness.is_read() { Observation::Absent } else { Observation::Unread }
    }

    /// All that is known, sorted by target.
    pub fn index(&self) -> &Index {
        &self.0.index
    }

    /// The autoscaler that targets a Deployment, if one is known.
    pub fn autoscaler(&self, target: &Target) -> Option<&Arc<str>> {
        self.0.autoscalers.of(target)
    }

    /// How many are known; of autoscalers, those of Deployments.
    pub fn known(&self, watched: Watched) -> usize {
        match watched {
            Watched::Deployments => self.0.index.len(),
            Watched::Autoscalers => self.0.autoscalers.len(),
        }
    }

    /// Whether what is known is what is.
    pub fn freshness(&self, watched: Watched) -> Freshness {
        match watched {
            Watched::Deployments => self.0.index_freshness,
            Watched::Autoscalers => self.0.autoscalers_freshness,
        }
    }

    /// How old the Deployments are, while their watch is broken.
    pub fn age(&self, now: Instant) -> Option<Duration> {
        match self.0.index_freshness {
            Freshness::Stale { since } => Some(now.saturating_duration_since(since)),
            Freshness::Unread | Freshness::Refused | Freshness::Live => None,
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
    pub fn remove(&self, target: &Target, uid: &Uid) {
        self.change(|inner| inner.index.remove(target, uid));
    }

    /// A full listing of the Deployments begins.
    pub fn begin_listing(&self) {
        self.change(|inner| inner.index.begin_listing());
    }

    /// A full listing of the Deployments is complete; returns the targets that are gone.
    pub fn end_listing(&self) -> Vec<Target> {
        let gone = self.change(|inner| {
            inner.index_freshness = Freshness::Live;
            inner.index.end_listing()
        });
        self.listed.notify_one();
        gone
    }

    /// Waits for a full listing of the Deployments to complete, from which on what it did not show is known to be absent.
    ///
    /// One that was completed before the call counts if nobody waited for it. For one caller.
    pub async fn listed(&self) {
        self.listed.notified().await;
    }

    /// Takes in an autoscaler that was listed, added or changed; `None`: it targets no Deployment. Returns the
    /// Deployments that this concerns.
    pub fn insert_autoscaler(&self, uid: &str, autoscaler: Option<Autoscaler>) -> Vec<Target> {
        self.change(|inner| match autoscaler {
            Some(autoscaler) => inner.autoscalers.insert(uid, autoscaler),
            None => inner.autoscalers.remove(uid).into_iter().collect(),
        })
    }

    /// A full listing of the autoscalers begins.
    pub fn begin_autoscalers_listing(&self) {
        self.change(|inner| inner.autoscalers.begin_listing());
    }

    /// A full listing of the autoscalers is complete; returns the Deployments of those that are gone.
    pub fn end_autoscalers_listing(&self) -> Vec<Target> {
        self.change(|inner| {
            inner.autoscalers_freshness = Freshness::Live;
            inner.autoscalers.end_listing()
        })
    }

    /// The watch is open and nothing was missed.
    pub fn set_live(&self, watched: Watched) {
        self.change(|inner| *inner.freshness(watched) = Freshness::Live);
    }

    /// The watch is broken; the API server was last heard at `since`.
    pub fn set_stale(&self, watched: Watched, since: Instant) {
        self.change(|inner| match inner.freshness(watched) {
            freshness @ Freshness::Live => *freshness = Freshness::Stale { since },
            Freshness::Unread | Freshness::Refused | Freshness::Stale { .. } => {}
        });
    }

    /// The API server refuses the watch.
    pub fn set_refused(&self, watched: Watched) {
        self.change(|inner| match inner.freshness(watched) {
            freshness @ Freshness::Unread => *freshness = Freshness::Refused,
            Freshness::Refused | Freshness::Live | Freshness::Stale { .. } => {}
        });
    }

    /// Takes note of a count that we wrote; see [`Index::record_write`].
    pub fn record_write(&self, target: &Target, uid: &Uid, written: NonZeroU64, replicas: Replicas) {
        self.change(|inner| inner.index.record_write(target, uid, written, replicas));
    }

    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.inner.write().unwrap_or_else(PoisonError::into_inner))
    }
}
