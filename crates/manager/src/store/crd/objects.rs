//! All objects, and which of them counts for each target. Knows no clock, no lock and no API server.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use replica_count_core::entry_target::EntryTarget;
use replica_count_core::history::compact::{self, Decoded, Ids};
use replica_count_core::stored::{Entry, Stored};

use super::entry::{Rules, Said};
use crate::history::shared::Told;
use crate::kubernetes::replica_count::{CreatedAt, ObjectKey, ReplicaCount, ReplicaCountStatus};

/// What is known of one object.
#[derive(Clone, Debug)]
pub(super) struct Known {
    pub(super) uid: Box<str>,
    pub(super) version: u64,
    pub(super) created_at: CreatedAt,
    pub(super) said: Arc<Said>,
    /// Without its history.
    pub(super) status: Arc<ReplicaCountStatus>,
    /// What its history has.
    pub(super) told: Ids,
    pub(super) generation: u64,
    /// The listing that showed it last, or that was the last one when this server wrote it.
    listing: u64,
    /// Whether the watch has not shown the version that this server wrote.
    is_unseen: bool,
}

/// The order of the objects of one target: the first one counts.
type Rank = (CreatedAt, ObjectKey);

/// A change of what counts for a target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Transition {
    pub(super) target: EntryTarget,
    pub(super) before: Option<Entry>,
    pub(super) after: Option<Entry>,
}

/// What a new version of an object, or its end, has changed.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Effect {
    /// Of the targets for which something else counts now.
    pub(super) transitions: Vec<Transition>,
    /// The objects whose status may be different now.
    pub(super) objects: Vec<ObjectKey>,
    /// What the object tells for the first time.
    pub(super) told: Option<Told>,
}

/// All objects.
#[derive(Debug)]
pub(super) struct Objects {
    rules: Rules,
    by_key: HashMap<ObjectKey, Known>,
    by_target: BTreeMap<EntryTarget, BTreeSet<Rank>>,
    /// The uids of objects that this server deleted and the watch may still show, with the listing at that time.
    deleted: HashMap<Box<str>, u64>,
    listing: u64,
}

impl Objects {
    pub(super) fn new(rules: Rules) -> Self {
        let (by_key, by_target, deleted) = (HashMap::new(), BTreeMap::new(), HashMap::new());
        Self { rules, by_key, by_target, deleted, listing: 0 }
    }

    /// By what objects are judged.
    pub(super) fn rules(&self) -> Rules {
        self.rules
    }

    pub(super) fn get(&self, key: &ObjectKey) -> Option<&Known> {
        self.by_key.get(key)
    }

    /// The object that counts for a target.
    pub(super) fn counting(&self, target: &EntryTarget) -> Option<(&ObjectKey, &Known)> {
        let (_, key) = self.by_target.get(target)?.first()?;
        self.by_key.get_key_value(key)
    }

    /// The objects of a target, first the one that counts.
    pub(super) fn of_target(&self, target: &EntryTarget) -> impl Iterator<Item = &ObjectKey> {
        self.by_target.get(target).into_iter().flatten().map(|(_, key)| key)
    }

    /// All that counts.
    pub(super) fn stored(&self) -> Stored {
        let mut stored = Stored::default();
        for target in self.by_target.keys() {
            match (self.entry(target), target) {
                (Some(Entry::Setting(setting)), EntryTarget::Known(target)) => {
                    stored.settings.insert(target.clone(), setting);
                }
                (Some(Entry::Unsupported(entry)), target) => {
                    stored.unsupported.insert(target.clone(), entry);
                }
                (Some(Entry::Setting(_)) | None, _) => {}
            }
        }
        stored
    }

    pub(super) fn keys(&self) -> Vec<ObjectKey> {
        self.by_key.keys().cloned().collect()
    }

    /// Records an object that the watch has shown.
    pub(super) fn observe(&mut self, object: &ReplicaCount) -> Effect {
        self.insert(object, false)
    }

    /// Records an object that the API server has answered with to a request of this server.
    pub(super) fn record_answer(&mut self, object: &ReplicaCount) -> Effect {
        self.insert(object, true)
    }

    /// Records an object that the API server has answered with to a write of its status. The answer may come after the end of
    /// the object was shown.
    pub(super) fn record_status(&mut self, object: &ReplicaCount) -> Effect {
        let is_known = self.by_key.get(&object.key()).is_some_and(|known| *known.uid == *object.uid());
        if is_known { self.insert(object, true) } else { Effect::default() }
    }

    fn insert(&mut self, object: &ReplicaCount, is_answer: bool) -> Effect {
        let key = object.key();
        if self.deleted.contains_key(object.uid()) {
            return Effect::default();
        }
        // Nobody can undo a deletion that waits for finalizers.
        if object.is_being_deleted() {
            return self.remove(&key, object.uid(), object.version(), false);
        }
        let said = Said::of(object, self.rules);
        if let Some(known) = self.by_key.get_mut(&key)
            && known.version >= object.version()
        {
            known.listing = self.listing;
            known.is_unseen &= is_answer || known.version > object.version();
            return Effect::default();
        }
        let target = said.target.clone();
        let old = self.by_key.get(&key);
        // The target of an object cannot change, but that of a re-created one can.
        let is_moved = old.is_some_and(|old| old.said.target != target);
        let mut effect = if is_moved { self.forget(&key) } else { Effect::default() };
        let before = target.as_ref().and_then(|target| self.entry(target));
        let old = self.by_key.get(&key);
        let is_same_object = old.is_some_and(|old| *old.uid == *object.uid() && *old.said == said);
        let mut status = object.status();
        let lines = std::mem::take(&mut status.history);
        let known_id = old.filter(|old| *old.uid == *object.uid()).map_or(0, |old| old.told.newest);
        let (told, version) = (compact::ids(&lines), object.version());
        if let (Some(EntryTarget::Known(target)), true) = (&target, told.newest > known_id) {
            let Decoded { entries, missing } = compact::decode(&lines, target, known_id);
            let target = target.clone();
            let told = Told { target, entries, missing, version, is_latest: false, is_news: false };
            effect.told = Some(told);
        }
        let status = Arc::new(status);
        let is_status_changed = old.is_some_and(|old| old.status != status || old.told.newest != told.newest);
        self.unlink(&key);
        let known = Known {
            uid: object.uid().into(),
            version,
            created_at: object.created_at(),
            said: Arc::new(said),
            status,
            told,
            generation: object.generation(),
            listing: self.listing,
            is_unseen: is_answer,
        };
        if let Some(target) = &target {
            self.by_target.entry(target.clone()).or_default().insert((known.created_at, key.clone()));
        }
        self.by_key.insert(key.clone(), known);
        if is_status_changed || target.is_none() {
            effect.objects.push(key);
        }
        let Some(target) = target else { return effect };
        if !is_same_object {
            effect.objects.extend(self.of_target(&target).cloned());
        }
        effect.transitions.extend(self.transition(target, before));
        effect
    }

    /// Records that the watch has shown the end of an object. `is_written`: this server writes it, and the answer may still
    /// come.
    pub(super) fn remove(&mut self, key: &ObjectKey, uid: &str, version: u64, is_written: bool) -> Effect {
        if is_written {
            self.deleted.insert(uid.into(), self.listing);
        } else {
            self.deleted.remove(uid);
        }
        let is_this =
            self.by_key.get(key).is_some_and(|known| *known.uid == *uid && known.version <= version);
        if is_this { self.forget(key) } else { Effect::default() }
    }

    /// Records that this server has deleted an object.
    pub(super) fn record_deleted(&mut self, key: &ObjectKey, uid: &str) -> Effect {
        if self.by_key.get(key).is_none_or(|known| *known.uid != *uid) {
            return Effect::default();
        }
        self.deleted.insert(uid.into(), self.listing);
        self.forget(key)
    }

    fn forget(&mut self, key: &ObjectKey) -> Effect {
        let Some(known) = self.by_key.get(key) else { return Effect::default() };
        let target = known.said.target.clone();
        let before = target.as_ref().and_then(|target| self.entry(target));
        self.unlink(key);
        self.by_key.remove(key);
        let Some(target) = target else { return Effect::default() };
        let objects = self.of_target(&target).cloned().collect();
        Effect { transitions: self.transition(target, before).into_iter().collect(), objects, told: None }
    }

    /// Removes an object from those of its target.
    fn unlink(&mut self, key: &ObjectKey) {
        let Some(known) = self.by_key.get(key) else { return };
        let Some(target) = &known.said.target else { return };
        if let Some(ranks) = self.by_target.get_mut(target) {
            ranks.remove(&(known.created_at, key.clone()));
            if ranks.is_empty() {
                self.by_target.remove(target);
            }
        }
    }

    pub(super) fn begin_listing(&mut self) {
        self.listing += 1;
    }

    /// Ends a listing: objects that it did not contain do not exist, except those that this server wrote meanwhile, which
    /// are returned: they may be too new for the listing.
    pub(super) fn end_listing(&mut self) -> (Vec<Effect>, Vec<ObjectKey>) {
        let listing = self.listing;
        self.deleted.retain(|_, deleted| *deleted >= listing);
        let missing = self.by_key.iter().filter(|(_, known)| known.listing != listing);
        let (unseen, gone): (Vec<_>, Vec<_>) = missing.partition(|(_, known)| known.is_unseen);
        let unseen = unseen.into_iter().map(|(key, _)| key.clone()).collect();
        let gone: Vec<_> = gone.into_iter().map(|(key, _)| key.clone()).collect();
        (gone.iter().map(|key| self.forget(key)).collect(), unseen)
    }

    fn entry(&self, target: &EntryTarget) -> Option<Entry> {
        self.counting(target).map(|(_, known)| known.said.entry())
    }

    fn transition(&self, target: EntryTarget, before: Option<Entry>) -> Option<Transition> {
        let after = self.entry(&target);
        (before != after).then_some(Transition { target, before, after })
    }
}

#[cfg(test)]
mod tests {
    use replica_count_core::target::Target;
    use serde_json::json;

    use super::*;

    fn object(name: &str, uid: &str, version: u64, second: u32, replicas: i32) -> ReplicaCount {
        let metadata = json!({
            "namespace": "shop", "name": name, "uid": uid, "resourceVersion": version.to_string(), "generation": 1,
            "creationTimestamp": format!("2026-01-01T00:00:{second:02}Z"),
        });
        let spec = json!({ "target": { "name": "web" }, "replicas": replicas });
        serde_json::from_value(json!({ "metadata": metadata, "spec": spec })).unwrap()
    }

    fn key(name: &str) -> ObjectKey {
        ObjectKey { namespace: "shop".into(), name: name.into() }
    }

    fn objects() -> Objects {
        Objects::new(Rules::NONE)
    }

    #[track_caller]
    fn check(objects: &Objects, expected: Option<(&str, i32)>) {
        let counting = objects.counting(&Target::deployment("shop", "web").unwrap().into());
        let counting = counting
            .map(|(key, known)| (&*key.name, known.said.setting().expect("a setting").replicas.get()));
        assert_eq!(counting, expected);
    }

    #[test]
    fn the_oldest_object_counts() {
        let mut objects = objects();
        let effect = objects.observe(&object("b", "1", 1, 5, 3));
        assert!(
            effect.transitions.iter().all(|change| change.before.is_none()) && effect.transitions.len() == 1
        );
        let effect = objects.observe(&object("c", "2", 2, 9, 4));
        assert_eq!((effect.transitions, effect.objects), (vec![], vec![key("b"), key("c")]));
        check(&objects, Some(("b", 3)));
        objects.observe(&object("d", "3", 3, 1, 5));
        check(&objects, Some(("d", 5)));
        objects.observe(&object("a", "4", 4, 1, 6));
        check(&objects, Some(("a", 6)));
        assert_eq!(objects.remove(&key("a"), "4", 5, false).objects.len(), 3);
        check(&objects, Some(("d", 5)));
        assert_eq!(objects.stored().settings.len(), 1);
    }

    #[test]
    fn nothing_goes_back() {
        let mut objects = objects();
        objects.record_answer(&object("web", "1", 7, 0, 3));
        assert_eq!(objects.observe(&object("web", "1", 6, 0, 2)), Effect::default());
        check(&objects, Some(("web", 3)));
        assert_eq!(objects.record_deleted(&key("web"), "1").transitions.len(), 1);
        objects.observe(&object("web", "1", 7, 0, 3));
        check(&objects, None);
        // Created anew, and then the watch follows.
        objects.record_answer(&object("web", "2", 9, 1, 4));
        assert_eq!(objects.remove(&key("web"), "1", 8, false), Effect::default());
        check(&objects, Some(("web", 4)));
    }

    #[test]
    fn a_late_answer_revives_nothing() {
        let mut objects = objects();
        objects.observe(&object("web", "1", 1, 0, 3));
        objects.remove(&key("web"), "1", 3, false);
        assert_eq!(objects.record_status(&object("web", "1", 2, 0, 3)), Effect::default());
        objects.observe(&object("web", "2", 4, 0, 3));
        assert_eq!(objects.record_status(&object("web", "1", 2, 0, 3)), Effect::default());
        objects.remove(&key("web"), "2", 6, true);
        assert_eq!(objects.record_answer(&object("web", "2", 5, 0, 3)), Effect::default());
        check(&objects, None);
    }

    #[test]
    fn what_a_listing_does_not_contain_is_gone() {
        let mut objects = objects();
        objects.observe(&object("web", "1", 1, 0, 3));
        objects.begin_listing();
        assert_eq!(objects.end_listing().0.len(), 1);
        check(&objects, None);
        // Written before or during a listing that may not have it.
        objects.record_answer(&object("web", "2", 7, 0, 4));
        objects.begin_listing();
        assert_eq!(objects.end_listing(), (vec![], vec![key("web")]));
        objects.observe(&object("web", "2", 7, 0, 4));
        objects.begin_listing();
        assert_eq!(objects.end_listing().0.len(), 1);
        // Deleted during one that has it, and forgotten after the next one.
        objects.observe(&object("web", "3", 8, 0, 4));
        objects.begin_listing();
        objects.record_deleted(&key("web"), "3");
        objects.observe(&object("web", "3", 8, 0, 4));
        objects.end_listing();
        check(&objects, None);
        objects.begin_listing();
        objects.end_listing();
        assert!(objects.deleted.is_empty());
    }

    #[test]
    fn a_status_changes_nothing_that_counts() {
        let mut objects = objects();
        objects.observe(&object("web", "1", 1, 0, 3));
        let mut json =
            json!({ "metadata": { "namespace": "shop", "name": "web", "uid": "1", "resourceVersion": "2" } });
        json["metadata"]["generation"] = 1.into();
        json["metadata"]["creationTimestamp"] = "2026-01-01T00:00:00Z".into();
        json["spec"] = json!({ "target": { "name": "web" }, "replicas": 3 });
        json["status"] = json!({ "state": "Wrong" });
        let effect = objects.observe(&serde_json::from_value(json).unwrap());
        assert_eq!((effect.transitions, effect.objects), (vec![], vec![key("web")]));
    }
}
