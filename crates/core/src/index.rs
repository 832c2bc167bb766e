//! The index of observed workloads: every workload of the cluster, reduced to a few fields.

use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroU64;
use std::ops::Bound;
use std::sync::Arc;

use crate::kind::{ByKind, Kind};
use crate::managed_fields::Writer;
use crate::observed::Observed;
use crate::ordered_lookup::OrderedLookup;
use crate::replicas::Replicas;
use crate::target::Target;
use crate::uid::Uid;

/// How many writers are kept at least before unused ones are dropped.
const WRITER_CLEANUP_THRESHOLD: usize = 1024;

/// Every workload that the watches have shown, sorted by target.
#[derive(Debug, Default)]
pub struct Index {
    /// Boxed, because sorted inserts, as from a listing, leave the nodes of the tree little more than half full.
    entries: BTreeMap<Target, Box<Entry>>,
    /// The number of the newest listing of each kind. Entries that a complete listing does not contain are removed.
    listings: ByKind<u32>,
    counts: ByKind<usize>,
    writers: HashSet<Arc<Writer>>,
    /// How many writers were in use at the last cleanup.
    writers_in_use: usize,
}

#[derive(Debug)]
struct Entry {
    observed: Observed,
    listing: u32,
}

impl Index {
    /// What was last observed of `target`.
    pub fn get(&self, target: &Target) -> Option<&Observed> {
        self.entries.get(target).map(|entry| &entry.observed)
    }

    /// The same, but faster, for targets in ascending order.
    pub fn ordered_lookup<'a>(&'a self) -> impl FnMut(&Target) -> Option<&'a Observed> {
        let mut entries = OrderedLookup::new(&self.entries);
        move |target| entries.get(target).map(|entry| &entry.observed)
    }

    /// All workloads from `from` on, sorted by target.
    pub fn range<'a>(&'a self, from: Bound<&'a Target>) -> impl Iterator<Item = (&'a Target, &'a Observed)> {
        self.entries
            .range::<Target, _>((from, Bound::Unbounded))
            .map(|(target, entry)| (target, &entry.observed))
    }

    /// How many workloads of a kind there are.
    pub fn count(&self, kind: Kind) -> usize {
        self.counts[kind]
    }

    /// Inserts or updates a workload that was listed, added or changed, unless the index has a newer version of it.
    pub fn insert(&mut self, target: Target, mut observed: Observed) {
        if let Some(owner) = &mut observed.owner {
            owner.writer = self.shared_writer(&owner.writer);
        }
        let kind = target.kind();
        let listing = self.listings[kind];
        if let Some(entry) = self.entries.get_mut(&target) {
            entry.listing = listing;
            let before = &entry.observed;
            if !observed.is_older_than(before) {
                if observed.uid == before.uid {
                    let is_same_count = observed.replicas == before.replicas;
                    observed.ready_before = if is_same_count { before.ready_before } else { before.ready };
                }
                entry.observed = observed;
            }
            return;
        }
        let target = match self.entries.range(..&target).next_back() {
            Some((neighbour, _)) => target.sharing_namespace_of(neighbour),
            None => target,
        };
        self.entries.insert(target, Box::new(Entry { observed, listing }));
        self.counts[kind] += 1;
    }

    /// Removes a deleted workload, unless another object has its name by now.
    pub fn remove(&mut self, target: &Target, uid: &Uid) {
        if self.get(target).is_some_and(|observed| observed.uid == *uid) {
            self.entries.remove(target);
            self.counts[target.kind()] -= 1;
        }
    }

    /// Begins a full listing of a kind.
    pub fn begin_listing(&mut self, kind: Kind) {
        self.listings[kind] = self.listings[kind].wrapping_add(1);
    }

    /// Completes a full listing of a kind: removes what it did not contain.
    pub fn end_listing(&mut self, kind: Kind) {
        let listing = self.listings[kind];
        let is_unlisted =
            |target: &Target, entry: &mut Box<Entry>| target.kind() == kind && entry.listing != listing;
        self.counts[kind] -= self.entries.extract_if(.., is_unlisted).count();
    }

    /// Records a count that we wrote to the object `uid`, so that no decision uses the count before it.
    ///
    /// `written` is the resource version of the write. Does nothing if the watch has already shown that version, a
    /// newer one or another object.
    pub fn record_write(&mut self, target: &Target, uid: &Uid, written: NonZeroU64, replicas: Replicas) {
        if let Some(entry) = self.entries.get_mut(target)
            && entry.observed.uid == *uid
            && entry.observed.resource_version.is_some_and(|version| version < written)
        {
            entry.observed.resource_version = Some(written);
            entry.observed.ready_before = entry.observed.ready;
            entry.observed.replicas = replicas;
            entry.observed.owner = None;
        }
    }

    fn shared_writer(&mut self, writer: &Arc<Writer>) -> Arc<Writer> {
        if let Some(shared) = self.writers.get(writer) {
            return Arc::clone(shared);
        }
        // Twice as many as were in use, so that the cost of cleanups is shared by as many new writers.
        if self.writers.len() >= WRITER_CLEANUP_THRESHOLD.max(2 * self.writers_in_use) {
            self.writers.retain(|writer| Arc::strong_count(writer) > 1);
            self.writers_in_use = self.writers.len();
        }
        self.writers.insert(Arc::clone(writer));
        Arc::clone(writer)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managed_fields::{FieldOwner, Operation};

    fn target(namespace: &str, name: &str) -> Target {
        Target::deployment(namespace, name).expect("valid")
    }

    fn observed(uid: &str, version: u64, replicas: i32) -> Observed {
        let replicas = Replicas::new(replicas).expect("valid");
        let resource_version = NonZeroU64::new(version);
        Observed {
            uid: uid.into(),
            resource_version,
            replicas,
            ready: 0,
            ready_before: 0,
            deleting: false,
            owner: None,
        }
    }

    fn count(index: &Index, target: &Target) -> Option<i32> {
        index.get(target).map(|observed| observed.replicas.get())
    }

    #[test]
    fn never_moves_backwards() {
        let (mut index, web) = (Index::default(), target("a", "web"));
        index.insert(web.clone(), observed("u", 5, 1));
        index.insert(web.clone(), observed("u", 4, 9));
        assert_eq!(count(&index, &web), Some(1), "older");
        index.insert(web.clone(), observed("u", 6, 2));
        assert_eq!(count(&index, &web), Some(2), "newer");
        index.insert(web.clone(), observed("v", 1, 3));
        assert_eq!(count(&index, &web), Some(3), "another object");
        index.remove(&web, &"u".into());
        assert_eq!(count(&index, &web), Some(3), "the deletion of the object before");
        index.remove(&web, &"v".into());
        assert_eq!(count(&index, &web), None);
    }

    #[test]
    fn the_pods_before_the_count_changed_are_remembered() {
        let (mut index, web) = (Index::default(), target("a", "web"));
        let seven = NonZeroU64::new(7).expect("not 0");
        let shown = |index: &Index| index.get(&web).map(|observed| (observed.ready, observed.ready_before));
        let insert = |index: &mut Index, uid, version, replicas, ready| {
            let observed = observed(uid, version, replicas);
            index.insert(web.clone(), Observed { ready, ready_before: ready, ..observed });
            shown(index)
        };
        assert_eq!(insert(&mut index, "u", 1, 5, 4), Some((4, 4)));
        assert_eq!(insert(&mut index, "u", 2, 5, 5), Some((5, 4)));
        assert_eq!(insert(&mut index, "u", 3, 0, 5), Some((5, 5)));
        assert_eq!(insert(&mut index, "u", 4, 0, 1), Some((1, 5)), "the count is the same");
        assert_eq!(insert(&mut index, "u", 5, 0, 0), Some((0, 5)), "the count is the same");
        index.record_write(&web, &"u".into(), seven, Replicas::new(5).expect("valid"));
        assert_eq!(shown(&index), Some((0, 0)));
        assert_eq!(insert(&mut index, "u", 6, 0, 9), Some((0, 0)), "older");
        assert_eq!(insert(&mut index, "v", 8, 0, 2), Some((2, 2)), "another object");
    }

    #[test]
    fn a_listing_removes_what_it_does_not_contain() {
        let mut index = Index::default();
        for name in ["a", "b", "c"] {
            index.insert(target("x", name), observed(name, 1, 1));
        }
        index.begin_listing(Kind::Deployment);
        index.insert(target("x", "b"), observed("b", 1, 1));
        index.insert(target("x", "d"), observed("d", 1, 1));
        assert_eq!(index.count(Kind::Deployment), 4, "an incomplete listing removes nothing");
        index.end_listing(Kind::Deployment);
        assert_eq!(index.count(Kind::Deployment), 2);
        let remaining: Vec<_> = index.range(Bound::Unbounded).map(|(target, _)| target.to_string()).collect();
        assert_eq!(remaining, ["x/b", "x/d"]);
    }

    #[test]
    fn a_listing_of_one_kind_does_not_touch_another() {
        let mut index = Index::default();
        let set = Target::new(Kind::StatefulSet, "x", "a").expect("valid");
        index.insert(set.clone(), observed("s", 1, 1));
        index.insert(target("x", "a"), observed("d", 1, 1));
        for _ in 0..2 {
            index.begin_listing(Kind::StatefulSet);
            index.insert(set.clone(), observed("s", 1, 1));
            index.end_listing(Kind::StatefulSet);
        }
        index.begin_listing(Kind::Deployment);
        index.end_listing(Kind::Deployment);
        assert_eq!((index.count(Kind::Deployment), index.count(Kind::StatefulSet)), (0, 1));
        assert_eq!(count(&index, &set), Some(1));
    }

    #[test]
    fn a_recorded_write_is_kept_until_the_watch_shows_a_newer_version() {
        let (mut index, web) = (Index::default(), target("a", "web"));
        let three = Replicas::new(3).expect("valid");
        let [five, seven] = [5, 7].map(|version| NonZeroU64::new(version).expect("not 0"));
        index.insert(web.clone(), observed("u", 5, 1));
        index.record_write(&web, &"v".into(), seven, three);
        assert_eq!(count(&index, &web), Some(1), "another object");
        index.record_write(&web, &"u".into(), five, three);
        assert_eq!(count(&index, &web), Some(1), "the watch has shown that version");
        index.record_write(&web, &"u".into(), seven, three);
        assert_eq!(count(&index, &web), Some(3));
        index.insert(web.clone(), observed("u", 6, 9));
        assert_eq!(count(&index, &web), Some(3), "from before the write");
        index.insert(web.clone(), observed("u", 8, 4));
        assert_eq!(count(&index, &web), Some(4));
    }

    #[test]
    fn writers_are_shared_and_bounded() {
        let mut index = Index::default();
        for n in 0..3 * WRITER_CLEANUP_THRESHOLD {
            let manager = format!("manager-{n}").into();
            let writer = Writer { manager, operation: Operation::Update, subresource: None };
            let owner = FieldOwner { writer: Arc::new(writer), time: None };
            index.insert(target("a", "web"), Observed { owner: Some(owner), ..observed("u", n as u64, 1) });
        }
        assert!(index.writers.len() <= WRITER_CLEANUP_THRESHOLD + 1);
    }
}
