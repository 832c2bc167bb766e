//! The autoscalers of the cluster, by target.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use crate::target::Target;

/// An autoscaler of a workload.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Autoscaler {
    /// The workload.
    pub target: Target,
    /// Kind and name of the object that people would have to delete.
    pub name: Arc<str>,
}

/// Every autoscaler of a workload that the watch has shown, by uid.
#[derive(Debug, Default)]
pub struct Autoscalers {
    entries: HashMap<Arc<str>, Entry>,
    by_target: BTreeMap<Target, BTreeSet<NameAndUid>>,
    /// The number of the newest listing. Entries that a complete listing does not contain are removed.
    listing: u32,
}

/// Two autoscalers can have the same name if one was re-created.
type NameAndUid = (Arc<str>, Arc<str>);

#[derive(Debug)]
struct Entry {
    autoscaler: Autoscaler,
    listing: u32,
}

impl Autoscalers {
    /// The name of the autoscaler of a workload; of several, the first by name.
    pub fn of(&self, target: &Target) -> Option<&Arc<str>> {
        self.by_target.get(target).and_then(BTreeSet::first).map(|(name, _)| name)
    }

    /// How many autoscalers there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// Inserts or updates an autoscaler that was listed, added or changed. Returns the affected targets, none if
    /// nothing changed.
    pub fn insert(&mut self, uid: &str, autoscaler: Autoscaler) -> Vec<Target> {
        let listing = self.listing;
        // Each autoscaler updates its status every few seconds.
        if let Some(known) = self.entries.get_mut(uid)
            && known.autoscaler == autoscaler
        {
            known.listing = listing;
            return Vec::new();
        }
        let before = self.remove(uid);
        let (uid, target) = (Arc::from(uid), autoscaler.target.clone());
        let name_and_uid = (Arc::clone(&autoscaler.name), Arc::clone(&uid));
        self.by_target.entry(target.clone()).or_default().insert(name_and_uid);
        self.entries.insert(uid, Entry { autoscaler, listing });
        before.into_iter().chain([target]).collect()
    }

    /// Removes an autoscaler and returns its target.
    pub fn remove(&mut self, uid: &str) -> Option<Target> {
        let (uid, Entry { autoscaler: Autoscaler { target, name }, .. }) = self.entries.remove_entry(uid)?;
        if let Some(autoscalers) = self.by_target.get_mut(&target) {
            autoscalers.remove(&(name, uid));
            if autoscalers.is_empty() {
                self.by_target.remove(&target);
            }
        }
        Some(target)
    }

    /// Begins a full listing.
    pub fn begin_listing(&mut self) {
        self.listing = self.listing.wrapping_add(1);
    }

    /// Completes a full listing: removes what it did not contain, and returns the affected targets.
    pub fn end_listing(&mut self) -> Vec<Target> {
        let is_unlisted = |entry: &Entry| entry.listing != self.listing;
        let unlisted: Vec<_> =
            self.entries.iter().filter(|(_, entry)| is_unlisted(entry)).map(|(uid, _)| uid.clone()).collect();
        unlisted.iter().filter_map(|uid| self.remove(uid)).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn target(name: &str) -> Target {
        Target::deployment("ns", name).expect("valid")
    }

    fn autoscaler(target_name: &str, name: &str) -> Autoscaler {
        Autoscaler { target: target(target_name), name: name.into() }
    }

    #[track_caller]
    fn check(autoscalers: &Autoscalers, expected: [(&str, Option<&str>); 2]) {
        for (name, expected) in expected {
            assert_eq!(autoscalers.of(&target(name)).map(|name| &**name), expected, "{name}");
        }
    }

    #[test]
    fn follow_the_target_of_each_autoscaler() {
        let mut autoscalers = Autoscalers::default();
        assert_eq!(autoscalers.insert("1", autoscaler("web", "b")), [target("web")]);
        assert_eq!(autoscalers.insert("2", autoscaler("web", "a")), [target("web")]);
        assert_eq!(autoscalers.insert("2", autoscaler("web", "a")), [], "nothing changed");
        check(&autoscalers, [("web", Some("a")), ("api", None)]);
        assert_eq!(autoscalers.insert("2", autoscaler("api", "a")), [target("web"), target("api")]);
        check(&autoscalers, [("web", Some("b")), ("api", Some("a"))]);
        assert_eq!(autoscalers.remove("1"), Some(target("web")));
        assert_eq!(autoscalers.remove("1"), None);
        check(&autoscalers, [("web", None), ("api", Some("a"))]);
        assert_eq!((autoscalers.len(), autoscalers.by_target.len()), (1, 1));
    }

    #[test]
    fn a_listing_removes_what_it_does_not_contain_even_if_it_was_recreated() {
        let mut autoscalers = Autoscalers::default();
        autoscalers.insert("1", autoscaler("web", "a"));
        autoscalers.insert("2", autoscaler("api", "b"));
        autoscalers.begin_listing();
        autoscalers.insert("3", autoscaler("api", "b"));
        check(&autoscalers, [("web", Some("a")), ("api", Some("b"))]);
        let mut affected = autoscalers.end_listing();
        affected.sort();
        assert_eq!(affected, [target("api"), target("web")]);
        check(&autoscalers, [("web", None), ("api", Some("b"))]);
    }
}
