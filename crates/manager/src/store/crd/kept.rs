//! The objects, and the memory and the subscriber that follow them.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use jiff::Timestamp;
use replica_count_core::change::Changed;
use replica_count_core::entry_target::EntryTarget;
use replica_count_core::history::compact::Ids;
use replica_count_core::setting::{Certainty, Setting};
use replica_count_core::stored::Entry;
use tokio::sync::Notify;
use tracing::{info, warn};

use super::entry::{NotEnforced, Rules, Said};
use super::objects::{Effect, Known, Objects, Transition};
use super::reading::Reading;
use crate::history::shared::Told;
use crate::kubernetes::replica_count::{ObjectKey, ReplicaCount, ReplicaCountStatus};
use crate::store::feed::{Feed, Subscriber};
use crate::store::mirror::Mirror;

/// All objects that are known. What changes is published at once.
pub struct Kept {
    objects: Arc<Mutex<Objects>>,
    feed: Feed<Box<dyn Subscriber + Send + Sync>>,
    pub(super) reading: Reading,
    /// Wakes the writer.
    pub(super) attention: Notify,
    /// Tells the watch not to wait any longer.
    pub(super) restart: Notify,
    /// The largest version that the watch has shown, and whether it is in a listing, which has no order.
    shown: Mutex<Shown>,
    doubtful: Mutex<Vec<ObjectKey>>,
    in_flight: Mutex<HashMap<ObjectKey, Ours>>,
    rules: Rules,
}

/// How far the watch has come.
#[derive(Debug, Default)]
struct Shown {
    version: u64,
    is_listing: bool,
}

/// Who changes an object, and the setting that it gets. `None`: it is deleted.
type Ours = (Author, Option<Arc<Setting>>);

/// A change of this server that has not ended yet. The watch may show it before the answer arrives.
pub(super) struct InFlight<'a> {
    kept: &'a Kept,
    key: ObjectKey,
}

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.kept.in_flight().remove(&self.key);
    }
}

/// Who changes an object, as it is reported.
#[derive(Clone, Debug, Default)]
pub(super) struct Author {
    pub(super) by: Option<String>,
    pub(super) at: Option<Timestamp>,
}

/// What is known of an object, for its status.
#[derive(Clone, Debug)]
pub struct ObjectView {
    /// The identity.
    pub uid: Box<str>,
    /// The generation that this is about.
    pub generation: u64,
    /// The workload. `None`: no workload can have its name.
    pub target: Option<EntryTarget>,
    /// The setting, if this version knows all of it.
    pub setting: Option<Arc<Setting>>,
    /// Why it is not enforced, apart from the policy of the server.
    pub not_enforced: Option<NotEnforced>,
    /// The object that counts instead, because it is older.
    pub superseded_by: Option<Arc<str>>,
    /// The newer objects that do not count because of this one.
    pub supersedes: Vec<Arc<str>>,
    /// The status that it has, without its history.
    pub status: Arc<ReplicaCountStatus>,
    /// What its history has.
    pub told: Ids,
}

/// A version of an object that has this uid.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Version {
    uid: Box<str>,
    version: u64,
}

impl Version {
    fn of(known: &Known) -> Self {
        Self { uid: known.uid.clone(), version: known.version }
    }
}

/// An object, as a change sees it.
#[derive(Clone, Debug)]
pub(super) struct Found {
    pub(super) key: ObjectKey,
    pub(super) uid: Box<str>,
    pub(super) version: u64,
    pub(super) generation: u64,
    pub(super) said: Arc<Said>,
}

impl Kept {
    pub(super) fn new(
        objects: Arc<Mutex<Objects>>,
        mirror: Mirror,
        reading: Reading,
        subscriber: Box<dyn Subscriber + Send + Sync>,
    ) -> Self {
        let rules = objects.lock().unwrap_or_else(PoisonError::into_inner).rules();
        let feed = Feed::new(mirror, subscriber);
        let (attention, restart) = (Notify::new(), Notify::new());
        let (shown, doubtful, in_flight) = (Mutex::default(), Mutex::default(), Mutex::default());
        Self { objects, feed, reading, attention, restart, shown, doubtful, in_flight, rules }
    }

    /// What is known of an object. `None`: it does not exist.
    pub fn view(&self, key: &ObjectKey) -> Option<ObjectView> {
        let objects = self.lock();
        let Known { uid, generation, said, status, told, .. } = objects.get(key)?;
        let of_target = said.target.iter().flat_map(|target| objects.of_target(target));
        let mut others = of_target.map(|key| Arc::clone(&key.name));
        let first = others.next();
        let is_first = first.as_deref() == Some(&*key.name);
        Some(ObjectView {
            uid: uid.clone(),
            generation: *generation,
            target: said.target.clone(),
            setting: said.setting().cloned(),
            not_enforced: said.not_enforced().cloned(),
            superseded_by: first.filter(|_| !is_first),
            supersedes: if is_first { others.collect() } else { Vec::new() },
            status: Arc::clone(status),
            told: *told,
        })
    }

    /// By what objects are judged.
    pub(super) fn rules(&self) -> Rules {
        self.rules
    }

    /// All objects.
    pub fn keys(&self) -> Vec<ObjectKey> {
        self.lock().keys()
    }

    /// The objects of a target.
    pub fn objects_of(&self, target: &EntryTarget) -> Vec<ObjectKey> {
        self.lock().of_target(target).cloned().collect()
    }

    /// Records the answer to a write of a status.
    pub fn record_status(&self, object: &ReplicaCount) {
        let mut objects = self.lock();
        let effect = objects.record_status(object);
        // Somebody else may have changed the rest meanwhile.
        self.publish(&objects, vec![effect], &Author::default());
    }

    /// The object that counts for a target.
    pub(super) fn find(&self, target: &EntryTarget) -> Option<Found> {
        let objects = self.lock();
        let (key, known) = objects.counting(target)?;
        let Known { uid, version, generation, said, .. } = known.clone();
        Some(Found { key: key.clone(), uid, version, generation, said })
    }

    /// The objects of a target that do not count, with their versions.
    pub(super) fn superseded(&self, target: &EntryTarget) -> Vec<Found> {
        let objects = self.lock();
        let found = |key: &ObjectKey| {
            let Known { uid, version, generation, said, .. } = objects.get(key)?.clone();
            Some(Found { key: key.clone(), uid, version, generation, said })
        };
        objects.of_target(target).skip(1).filter_map(found).collect()
    }

    pub(super) fn record_answer(&self, object: &ReplicaCount, author: &Author) {
        let mut objects = self.lock();
        let effect = objects.record_answer(object);
        self.publish(&objects, vec![effect], author);
    }

    pub(super) fn record_deleted(&self, key: &ObjectKey, uid: &str, author: &Author) {
        let mut objects = self.lock();
        let effect = objects.record_deleted(key, uid);
        self.publish(&objects, vec![effect], author);
    }

    pub(super) fn observe(&self, object: &ReplicaCount) {
        let mut objects = self.lock();
        let mut effect = objects.observe(object);
        if let Some(told) = &mut effect.told {
            told.is_latest = !self.shown().is_listing;
        }
        let (by, at) = object.set();
        // What anybody may have written is not told as proven.
        let by = by.filter(|_| self.rules.authors == Certainty::Proven);
        let mut author = Author { by, at };
        for Transition { before, after, .. } in &effect.transitions {
            // Who set the count is not who has changed its enforcement.
            if let (Some(Entry::Setting(before)), Some(Entry::Setting(after))) = (before, after)
                && before.is_same_count_as(after)
            {
                author = Author::default();
            }
        }
        if let Some((ours, Some(setting))) = self.in_flight().get(&object.key())
            && objects.get(&object.key()).is_some_and(|known| known.said.is_same_spec(setting))
        {
            author = ours.clone();
        }
        self.publish(&objects, vec![effect], &author);
        self.record_shown(object.version());
    }

    pub(super) fn remove(&self, object: &ReplicaCount) {
        let mut objects = self.lock();
        let (author, is_written) = match self.in_flight().get(&object.key()) {
            Some((ours, None)) => (ours.clone(), false),
            Some((_, Some(_))) => (Author::default(), true),
            None => (Author::default(), false),
        };
        let effect = objects.remove(&object.key(), object.uid(), object.version(), is_written);
        self.publish(&objects, vec![effect], &author);
        self.record_shown(object.version());
    }

    /// Records that the watch has shown a version. The objects are locked, so that this follows what it has changed.
    fn record_shown(&self, version: u64) {
        let mut shown = self.shown();
        shown.version = shown.version.max(version);
        if !shown.is_listing {
            self.feed.subscriber().shown(shown.version);
        }
    }

    fn shown(&self) -> MutexGuard<'_, Shown> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Records that this server changes an object; `None` deletes it.
    pub(super) fn begin_change(
        &self,
        key: &ObjectKey,
        author: &Author,
        setting: Option<&Arc<Setting>>,
    ) -> InFlight<'_> {
        self.in_flight().insert(key.clone(), (author.clone(), setting.cloned()));
        InFlight { kept: self, key: key.clone() }
    }

    fn in_flight(&self) -> MutexGuard<'_, HashMap<ObjectKey, Ours>> {
        self.in_flight.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn begin_listing(&self) {
        let mut objects = self.lock();
        objects.begin_listing();
        self.shown().is_listing = true;
    }

    /// Ends a listing of this version; returns how many objects there are. Only then does anything of the first one count: a
    /// younger object may have been listed before an older one.
    pub(super) fn end_listing(&self, version: u64) -> usize {
        let mut objects = self.lock();
        let (effects, doubtful) = objects.end_listing();
        if !doubtful.is_empty() {
            self.put_back_doubtful(doubtful);
            self.attention.notify_one();
        }
        let count = objects.keys().len();
        if self.reading.is_read() {
            self.publish(&objects, effects, &Author::default());
        } else {
            // Nobody sees an empty memory as read, and the subscriber acts only on what is read.
            self.feed.mirror().fill(objects.stored());
            self.reading.record_read();
            self.feed.subscriber().filled();
            self.feed.subscriber().objects_changed(&objects.keys());
        }
        let mut shown = self.shown();
        shown.is_listing = false;
        shown.version = shown.version.max(version);
        self.feed.subscriber().listed(shown.version);
        drop(shown);
        self.resume(&objects);
        count
    }

    /// The watch is open again.
    pub(super) fn live(&self) {
        self.resume(&self.lock());
    }

    fn resume(&self, objects: &Objects) {
        if self.reading.record_live() {
            info!("the API server shows ReplicaCounts again: counts are enforced");
            self.feed.subscriber().resumed();
            self.feed.subscriber().objects_changed(&objects.keys());
        }
    }

    /// The API server refuses to show the objects.
    pub(super) fn refused(&self, reason: &str) {
        self.reading.record_refused(format!("nothing is enforced: {reason}"));
        self.attention.notify_one();
    }

    /// Objects that this server wrote and the last listing did not contain.
    pub(super) fn take_doubtful(&self) -> Vec<ObjectKey> {
        std::mem::take(&mut *self.doubtful.lock().unwrap_or_else(PoisonError::into_inner))
    }

    /// Records that some are still doubtful.
    pub(super) fn put_back_doubtful(&self, keys: Vec<ObjectKey>) {
        self.doubtful.lock().unwrap_or_else(PoisonError::into_inner).extend(keys);
    }

    /// Which version of an object is known.
    pub(super) fn version(&self, key: &ObjectKey) -> Option<Version> {
        self.lock().get(key).map(Version::of)
    }

    /// Records that an object did not exist after `version` of it was known. If another one is known by now, that says
    /// nothing.
    pub(super) fn record_absent(&self, key: &ObjectKey, version: &Version) {
        let mut objects = self.lock();
        if objects.get(key).map(Version::of).as_ref() != Some(version) {
            return;
        }
        let effect = objects.record_deleted(key, &version.uid);
        self.publish(&objects, vec![effect], &Author::default());
    }

    /// Publishes what has changed. The lock is held, so that everything is published in order.
    fn publish(&self, _objects: &Objects, effects: Vec<Effect>, author: &Author) {
        let is_news = self.reading.is_read();
        for Effect { transitions, objects, told } in effects {
            if is_news {
                for transition in transitions {
                    self.publish_one(transition, author);
                }
            }
            // After the change that it may tell.
            if let Some(told) = told {
                self.feed.subscriber().told(Told { is_news, ..told });
            }
            if is_news && !objects.is_empty() {
                self.feed.subscriber().objects_changed(&objects);
            }
        }
    }

    fn publish_one(&self, Transition { target, before, after }: Transition, author: &Author) {
        let setting = |entry: &Option<Entry>| match entry {
            Some(Entry::Setting(setting)) => Some(Arc::clone(setting)),
            Some(Entry::Unsupported(_)) | None => None,
        };
        let unsupported = match &before {
            Some(Entry::Unsupported(entry)) => Some(Arc::clone(entry)),
            Some(Entry::Setting(_)) | None => None,
        };
        if let Some(Entry::Unsupported(entry)) = &after {
            warn!(%target, reason = &*entry.reason, "stored but not enforced");
        }
        let changed = Changed {
            target,
            before: setting(&before),
            after: setting(&after),
            unsupported,
            by: author.by.clone(),
            at: author.at.unwrap_or_else(Timestamp::now),
        };
        self.feed.publish_entry(&changed, after);
    }

    fn lock(&self) -> MutexGuard<'_, Objects> {
        self.objects.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
