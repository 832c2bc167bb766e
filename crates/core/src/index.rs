//! The index of what is observed: every Deployment of the cluster, in a few words each.

use std::collections::{BTreeMap, HashSet};
use std::num::NonZeroU64;
use std::ops::Bound;
use std::sync::Arc;

use crate::ascending::Ascending;
use crate::observed::Observed;
use crate::replicas::Replicas;
use crate::target::Target;
use crate::uid::Uid;

/// How many names of field managers are kept before those that nobody refers to any more are dropped.
const MANAGER_NAMES: usize = 1024;

/// Every Deployment that the watch showed, sorted by target.
#[derive(Debug, Default)]
pub struct Index {
    /// Boxed: when they come in order, as in a listing, nodes of the tree are little more than half full.
    entries: BTreeMap<Target, Box<Entry>>,
    /// Which listing is the newest: an entry that a complete listing did not show is gone.
    listing: u32,
    managers: HashSet<Arc<str>>,
}

#[derive(Debug)]
struct Entry {
    observed: Observed,
    listing: u32,
}

impl Index {
    /// What is known of `target`.
    pub fn get(&self, target: &Target) -> Option<&Observed> {
        self.entries.get(target).map(|entry| &entry.observed)
    }

    /// The same for targets that come in their order.
    pub fn ascending<'a>(&'a self) -> impl FnMut(&Target) -> Option<&'a Observed> {
        let mut entries = Ascending::new(&self.entries);
        move |target| entries.get(target).map(|entry| &entry.observed)
    }

    /// Everything from `from` on, sorted by target.
    pub fn range<'a>(&'a self, from: Bound<&'a Target>) -> impl Iterator<Item = (&'a Target, &'a Observed)> {
        self.entries
            .range::<Target, _>((from, Bound::Unbounded))
            .map(|(target, entry)| (target, &entry.observed))
    }

    /// How many Deployments there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Takes in a Deployment that was listed, added or changed, unless what is known of it is newer.
    pub fn insert(&mut self, target: Target, mut observed: Observed) {
        if let Some(owner) = &mut observed.owner {
            owner.manager = self.shared_manager(&owner.manager);
        }
        let listing = self.listing;
        if let Some(entry) = self.entries.get_mut(&target) {
            entry.listing = listing;
            if !observed.is_older_than(&entry.observed) {
                entry.observed = observed;
            }
            return;
        }
        let target = match self.entries.range(..&target).next_back() {
            Some((neighbour, _)) => target.sharing_namespace_of(neighbour),
            None => target,
        };
        self.entries.insert(target, Box::new(Entry { observed, listing }));
    }

    /// Forgets a Deployment that was deleted, unless it is another one by now.
    pub fn remove(&mut self, target: &Target, uid: &Uid) {
        if self.get(target).is_some_and(|observed| observed.uid == *uid) {
            self.entries.remove(target);
        }
    }

    /// A full listing begins.
    pub fn begin_listing(&mut self) {
        self.listing = self.listing.wrapping_add(1);
    }

    /// A full listing is complete: forgets what it did not show, and returns it.
    pub fn end_listing(&mut self) -> Vec<Target> {
        let listing = self.listing;
        self.entries.extract_if(.., |_, entry| entry.listing != listing).map(|(target, _)| target).collect()
    }

    /// Takes note of a count that we wrote to the object `uid`, so that nothing is decided on the count before it.
    ///
    /// `written` is the version that the write made. Nothing changes if the watch has shown that version or a newer one,
    /// or another object.
    pub fn record_write(&mut self, target: &Target, uid: &Uid, written: NonZeroU64, replicas: Replicas) {
        if let Some(entry) = self.entries.get_mut(target)
            && entry.observed.uid == *uid
            && entry.observed.resource_version.is_some_and(|version| version < written)
        {
            entry.observed.resource_version = Some(written);
            entry.observed.replicas = replicas;
            entry.observed.owner = None;
        }
    }

    fn shared_manager(&mut self, manager: &Arc<str>) -> Arc<str> {
        if let Some(shared) = self.managers.get(manager) {
            return Arc::clone(shared);
        }
        if self.managers.len() >= MANAGER_NAMES {
            self.managers.retain(|name| Arc::strong_count(name) > 1);
        }
        self.managers.insert(Arc::clone(manager));
        Arc::clone(manager)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managed_fields::{FieldOwner, Operation};

    fn target(namespace: &str, name: &str) -> Target {
        Target::new(namespace, name).expect("valid")
    }

    fn observed(uid: &str, version: u64, replicas: i32) -> Observed {
        let replicas = Replicas::new(replicas).expect("valid");
        let resource_version = NonZeroU64::new(version);
        Observed { uid: uid.into(), resource_version, replicas, ready: 0, deleting: false, owner: None }
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
        assert_eq!(count(&index, &web), Some(3), "the deletion of the one before");
        index.remove(&web, &"v".into());
        assert_eq!(count(&index, &web), None);
    }

    #[test]
    fn a_listing_drops_what_it_does_not_show() {
        let mut index = Index::default();
        for name in ["a", "b", "c"] {
            index.insert(target("x", name), observed(name, 1, 1));
        }
        index.begin_listing();
        index.insert(target("x", "b"), observed("b", 1, 1));
        index.insert(target("x", "d"), observed("d", 1, 1));
        assert_eq!(index.len(), 4, "a listing under way forgets nothing");
        assert_eq!(index.end_listing(), [target("x", "a"), target("x", "c")]);
        let left: Vec<_> = index.range(Bound::Unbounded).map(|(target, _)| target.to_string()).collect();
        assert_eq!(left, ["x/b", "x/d"]);
    }

    #[test]
    fn a_write_is_known_until_the_watch_shows_more() {
        let (mut index, web) = (Index::default(), target("a", "web"));
        let three = Replicas::new(3).expect("valid");
        let [five, seven] = [5, 7].map(|version| NonZeroU64::new(version).expect("not 0"));
        index.insert(web.clone(), observed("u", 5, 1));
        index.record_write(&web, &"v".into(), seven, three);
        assert_eq!(count(&index, &web), Some(1), "another object");
        index.record_write(&web, &"u".into(), five, three);
        assert_eq!(count(&index, &web), Some(1), "the watch has shown what came after");
        index.record_write(&web, &"u".into(), seven, three);
        assert_eq!(count(&index, &web), Some(3));
        index.insert(web.clone(), observed("u", 6, 9));
        assert_eq!(count(&index, &web), Some(3), "from before the write");
        index.insert(web.clone(), observed("u", 8, 4));
        assert_eq!(count(&index, &web), Some(4));
    }

    #[test]
    fn names_of_managers_are_shared_and_bounded() {
        let mut index = Index::default();
        for n in 0..3 * MANAGER_NAMES {
            let manager = Arc::from(format!("manager-{n}"));
            let owner = FieldOwner { manager, operation: Operation::Update, subresource: None, time: None };
            index.insert(target("a", "web"), Observed { owner: Some(owner), ..observed("u", n as u64, 1) });
        }
        assert!(index.managers.len() <= MANAGER_NAMES + 1);
    }
}
