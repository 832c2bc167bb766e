//! The observed state of the cluster, and how fresh it is. Every read is answered from it.

mod freshness;

use std::num::NonZeroU64;
use std::sync::{Arc, PoisonError, RwLock, RwLockReadGuard};

use replica_count_core::autoscalers::{Autoscaler, Autoscalers};
use replica_count_core::index::Index;
use replica_count_core::kind::{ByKind, Kind};
use replica_count_core::observed::{Observation, Observed};
use replica_count_core::replicas::Replicas;
use replica_count_core::target::Target;
use replica_count_core::uid::Uid;
use tokio::time::Instant;

pub use self::freshness::{Freshness, Watched};

/// The observed state of the cluster.
#[derive(Debug, Default)]
pub struct Cluster(RwLock<Inner>);

#[derive(Debug, Default)]
struct Inner {
    index: Index,
    workloads: ByKind<Freshness>,
    autoscalers: Autoscalers,
    autoscalers_freshness: Freshness,
}

impl Inner {
    fn freshness(&self, watched: Watched) -> Freshness {
        match watched {
            Watched::Workloads(kind) => self.workloads[kind],
            Watched::Autoscalers => self.autoscalers_freshness,
        }
    }

    fn freshness_mut(&mut self, watched: Watched) -> &mut Freshness {
        match watched {
            Watched::Workloads(kind) => &mut self.workloads[kind],
            Watched::Autoscalers => &mut self.autoscalers_freshness,
        }
    }
}

/// The cluster at one point in time. Writers wait while it is held, so hold it only briefly.
pub struct View<'a>(RwLockReadGuard<'a, Inner>);

impl View<'_> {
    /// What is known of a target's workload.
    pub fn observation(&self, target: &Target) -> Observation<'_> {
        self.0.index.get(target).map_or_else(|| self.not_in_index(target.kind()), Observation::Present)
    }

    /// The same, but faster, for targets in ascending order.
    pub fn observations<'a>(&'a self) -> impl FnMut(&Target) -> Observation<'a> {
        let mut index = self.0.index.ordered_lookup();
        move |target| index(target).map_or_else(|| self.not_in_index(target.kind()), Observation::Present)
    }

    /// The observation of a workload that is not in the index.
    fn not_in_index(&self, kind: Kind) -> Observation<'static> {
        if self.0.workloads[kind].is_read() { Observation::Absent } else { Observation::Unread }
    }

    /// All observed workloads, sorted by target.
    pub fn index(&self) -> &Index {
        &self.0.index
    }

    /// The autoscaler that targets a workload, if one is known.
    pub fn autoscaler(&self, target: &Target) -> Option<&Arc<str>> {
        self.0.autoscalers.of(target)
    }

    /// How many objects were observed.
    pub fn count(&self, watched: Watched) -> usize {
        match watched {
            Watched::Workloads(kind) => self.0.index.count(kind),
            Watched::Autoscalers => self.0.autoscalers.len(),
        }
    }

    /// How fresh the observed state is.
    pub fn freshness(&self, watched: Watched) -> Freshness {
        self.0.freshness(watched)
    }
}

impl Cluster {
    /// The current observed state.
    pub fn view(&self) -> View<'_> {
        View(self.0.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// Inserts or updates a workload that was listed, added or changed.
    pub fn insert(&self, target: Target, observed: Observed) {
        self.change(|inner| inner.index.insert(target, observed));
    }

    /// Removes a deleted workload.
    pub fn remove(&self, target: &Target, uid: &Uid) {
        self.change(|inner| inner.index.remove(target, uid));
    }

    /// Begins a full listing of the workloads of a kind.
    pub fn begin_listing(&self, kind: Kind) {
        self.change(|inner| inner.index.begin_listing(kind));
    }

    /// Completes a full listing of the workloads of a kind: those that it did not contain are absent.
    pub fn end_listing(&self, kind: Kind) {
        self.change(|inner| {
            inner.workloads[kind] = Freshness::Live;
            inner.index.end_listing(kind);
        });
    }

    /// Inserts or updates an autoscaler that was listed, added or changed. `None`: it targets no workload. Returns the
    /// affected targets.
    pub fn insert_autoscaler(&self, uid: &str, autoscaler: Option<Autoscaler>) -> Vec<Target> {
        self.change(|inner| match autoscaler {
            Some(autoscaler) => inner.autoscalers.insert(uid, autoscaler),
            None => inner.autoscalers.remove(uid).into_iter().collect(),
        })
    }

    /// Begins a full listing of the autoscalers.
    pub fn begin_autoscalers_listing(&self) {
        self.change(|inner| inner.autoscalers.begin_listing());
    }

    /// Completes a full listing of the autoscalers; returns the targets of those that it did not contain.
    pub fn end_autoscalers_listing(&self) -> Vec<Target> {
        self.change(|inner| {
            inner.autoscalers_freshness = Freshness::Live;
            inner.autoscalers.end_listing()
        })
    }

    /// Records that the watch is open and nothing was missed.
    pub fn set_live(&self, watched: Watched) {
        self.change(|inner| *inner.freshness_mut(watched) = Freshness::Live);
    }

    /// Records that the watch is broken. `since` is when the last data arrived from the API server.
    pub fn set_stale(&self, watched: Watched, since: Instant) {
        self.change(|inner| match inner.freshness_mut(watched) {
            freshness @ Freshness::Live => *freshness = Freshness::Stale { since },
            Freshness::Unread | Freshness::Refused | Freshness::Stale { .. } => {}
        });
    }

    /// Records that the API server refuses the watch. Workloads that were observed before are forgotten: nobody knows
    /// when they will be observed again. Autoscalers are kept: without them, more would be enforced than before.
    pub fn set_refused(&self, watched: Watched) {
        self.change(|inner| match (watched, inner.freshness(watched)) {
            (Watched::Workloads(kind), _) => {
                inner.workloads[kind] = Freshness::Refused;
                inner.index.begin_listing(kind);
                inner.index.end_listing(kind);
            }
            (Watched::Autoscalers, Freshness::Unread) => inner.autoscalers_freshness = Freshness::Refused,
            (Watched::Autoscalers, Freshness::Refused | Freshness::Live | Freshness::Stale { .. }) => {}
        });
    }

    /// Records a count that we wrote; see [`Index::record_write`].
    pub fn record_write(&self, target: &Target, uid: &Uid, written: NonZeroU64, replicas: Replicas) {
        self.change(|inner| inner.index.record_write(target, uid, written, replicas));
    }

    fn change<T>(&self, change: impl FnOnce(&mut Inner) -> T) -> T {
        change(&mut self.0.write().unwrap_or_else(PoisonError::into_inner))
    }
}
