//! The history: what happened, within bounds. The oldest entries give way to new ones.

pub mod compact;
pub mod entry;
pub mod line;
pub mod position;
pub mod query;
pub mod sample;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use self::entry::{Entry, What};
use self::position::Position;
use self::query::Filter;
use crate::target::Target;

/// How much is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Bounds {
    /// At most this many entries of each target.
    pub per_target: usize,
    /// At most this many bytes of all targets together, as [`Entry::bytes`] counts them.
    pub bytes: usize,
}

impl Bounds {
    /// The default: 100 entries of each target, and 16 MiB.
    pub const DEFAULT: Self = Self { per_target: 100, bytes: 16 << 20 };

    /// Whether anything is kept.
    pub fn keep_something(&self) -> bool {
        self.per_target > 0 && self.bytes > 0
    }
}

/// The version of an entry that no other server can read yet.
const UNPUBLISHED: u64 = u64::MAX;

/// What happened.
#[derive(Debug)]
pub struct History {
    bounds: Bounds,
    /// All entries by id, which is their order.
    entries: BTreeMap<u64, Stored>,
    targets: HashMap<Target, Kept>,
    bytes: usize,
    next_id: u64,
    /// The first id of those that this server has given in a row. `None`: it follows another one.
    own_from: Option<u64>,
    /// Everything that other servers could read in this version of the API server is here, or has been.
    version: u64,
    gone: Gone,
}

/// How far what is no longer here reaches.
#[derive(Debug, Default)]
struct Gone {
    /// The largest id.
    id: u64,
    /// The largest version.
    version: u64,
    /// The largest version of what other servers have recorded.
    version_of_others: u64,
}

/// An entry, and from which version of the API server on other servers can read it.
#[derive(Debug)]
struct Stored {
    entry: Arc<Entry>,
    version: u64,
}

/// What is kept of a target that has entries.
#[derive(Debug, Default)]
struct Kept {
    /// The ids of its entries, oldest first.
    ids: VecDeque<u64>,
    /// How many drifts were seen since it is managed.
    drifts: u64,
    last_drift: Option<Arc<Entry>>,
    /// The last one of its entries that tells that its setting was deleted. 0: there was none.
    deleted: u64,
    /// The newest one of its entries that are not here. 0: there is none.
    missing: u64,
    /// Whether that one has gone before another server could read it.
    is_untold: bool,
}

/// A page of entries, newest first.
#[derive(Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// The entries.
    pub entries: Vec<Arc<Entry>>,
    /// The next page has entries before this id. `None`: this is the last page.
    pub before: Option<u64>,
}

impl History {
    /// An empty history.
    pub fn new(bounds: Bounds) -> Self {
        Self {
            bounds,
            entries: BTreeMap::new(),
            targets: HashMap::new(),
            bytes: 0,
            next_id: 1,
            own_from: Some(1),
            version: 0,
            gone: Gone::default(),
        }
    }

    /// A history of stored entries. Entries that do not follow the one before are left out.
    pub fn restore(bounds: Bounds, entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut history = Self::new(bounds);
        for entry in entries {
            if entry.id >= history.next_id && entry.id < u64::MAX {
                if entry.id > history.next_id {
                    history.gone.id = entry.id - 1;
                }
                history.insert(entry, UNPUBLISHED);
            }
        }
        history
    }

    /// Adds what has just happened, and gives it its id and the number of the drift. Several servers give ids in turn, and
    /// each of them begins at `least_id`, which grows with time, so that none is given twice.
    pub fn push(&mut self, mut entry: Entry, least_id: u64) -> Arc<Entry> {
        entry.id = self.next_id.max(least_id);
        self.own_from.get_or_insert(entry.id);
        if entry.what == What::Drifted {
            entry.times = Some(self.drifts(&entry.target).0.saturating_add(1));
        }
        // Other servers see for themselves that a setting is deleted.
        let version = if entry.what == What::Deleted { self.version + 1 } else { UNPUBLISHED };
        self.insert(entry, version)
    }

    /// Adds what every server sees for itself, while another one gives ids.
    pub fn push_seen(&mut self, mut entry: Entry, least_id: u64) -> Arc<Entry> {
        entry.id = self.next_id.max(least_id);
        self.own_from = None;
        // The version that shows it is the next one.
        self.insert(entry, self.version + 1)
    }

    /// Adds what could be read in `version`, of which this server may have recorded some. Returns what is new.
    pub fn adopt(&mut self, entry: Entry, version: u64) -> Option<Arc<Entry>> {
        if self.has(entry.id) {
            self.record_published(&entry, version);
            return None;
        }
        // The answer to a write of this server may come when memory has lost what it has written.
        let is_own = self.own_from.is_some_and(|own_from| own_from <= entry.id);
        if is_own && entry.id <= self.gone.id {
            return None;
        }
        Some(self.insert(entry, version))
    }

    /// Records that an entry can be read, and those of the same target before it, or never.
    fn record_published(&mut self, entry: &Entry, version: u64) {
        let Some(kept) = self.targets.get(&entry.target) else { return };
        for id in kept.ids.iter().rev().skip_while(|id| **id > entry.id) {
            match self.entries.get_mut(id) {
                Some(stored) if stored.version == UNPUBLISHED => stored.version = version,
                Some(_) | None => return,
            }
        }
    }

    /// Another server gives ids from now on.
    pub fn follow(&mut self) {
        self.own_from = None;
    }

    /// Everything that could be read in this version has been adopted.
    pub fn record_version(&mut self, version: u64) {
        self.version = self.version.max(version);
    }

    /// The entry with this id is not known. It is before others of its target that are.
    pub fn record_missing(&mut self, target: &Target, id: u64) {
        if let Some(kept) = self.targets.get_mut(target) {
            kept.missing = kept.missing.max(id);
        }
    }

    /// The newest one of the entries of a target that are not here, as far as that is known. 0: there is none.
    pub fn missing(&self, target: &Target) -> u64 {
        self.targets.get(target).map_or(0, |kept| kept.missing)
    }

    /// Something that could be read in this version, or before it, is not known.
    pub fn record_gap(&mut self, version: u64) {
        self.gone.version = self.gone.version.max(version);
        self.gone.version_of_others = self.gone.version_of_others.max(version);
    }

    /// Where a reader is that has everything.
    pub fn position(&self) -> Position {
        let Some(first_id) = self.own_from else {
            return Position { version: self.version, ..Position::default() };
        };
        let last_id = self.next_id - 1;
        let last_at = self.entries.get(&last_id).map_or(0, |last| last.entry.at.as_microsecond());
        Position { first_id, last_id, last_at, version: self.version }
    }

    /// What a reader at this position does not have, oldest first. `None`: not all of it is here, or the position is one of
    /// another history.
    pub fn since(&self, position: &Position) -> Option<Vec<Arc<Entry>>> {
        let Position { first_id, last_id, last_at, version } = *position;
        let is_shared = self.version > 0;
        let is_same = self
            .entries
            .get(&last_id)
            .map_or(is_shared || last_id == 0, |last| last.entry.at.as_microsecond() == last_at);
        let has_versions = is_shared && self.gone.version <= version;
        let has_ids = self.own_from == Some(first_id)
            && self.gone.id <= last_id
            && self.gone.version_of_others <= version;
        if !is_same || !(has_versions || has_ids) {
            return None;
        }
        let own_from = self.own_from.unwrap_or_default();
        let is_missing = |(id, Stored { entry, version }): &(&u64, &Stored)| {
            let is_deletion = entry.what == What::Deleted;
            *version > position.version && !position.covers(**id, is_deletion, own_from)
        };
        let missing = self.entries.iter().filter(is_missing);
        Some(missing.map(|(_, stored)| Arc::clone(&stored.entry)).collect())
    }

    fn insert(&mut self, entry: Entry, version: u64) -> Arc<Entry> {
        let (id, entry) = (entry.id, Arc::new(entry));
        self.next_id = self.next_id.max(id + 1);
        if self.bounds.per_target == 0 || entry.bytes() > self.bounds.bytes {
            self.forget(id, version);
            return entry;
        }
        let kept = self.targets.entry(entry.target.clone()).or_default();
        match entry.what {
            What::Drifted => {
                kept.drifts = entry.times.unwrap_or_default();
                kept.last_drift = Some(Arc::clone(&entry));
            }
            What::Deleted => {
                (kept.drifts, kept.last_drift) = (0, None);
                (kept.missing, kept.is_untold) = (0, false);
                kept.deleted = kept.deleted.max(id);
            }
            _ => {}
        }
        kept.ids.insert(kept.ids.partition_point(|other| *other < id), id);
        let oldest = (kept.ids.len() > self.bounds.per_target).then(|| kept.ids[0]);
        self.bytes += entry.bytes();
        self.entries.insert(id, Stored { entry: Arc::clone(&entry), version });
        if let Some(oldest) = oldest {
            self.remove(oldest);
        }
        while self.bytes > self.bounds.bytes
            && let Some((oldest, _)) = self.entries.first_key_value()
        {
            self.remove(*oldest);
        }
        entry
    }

    /// Removes the oldest entry of a target.
    fn remove(&mut self, id: u64) {
        let Some(Stored { entry, version }) = self.entries.remove(&id) else { return };
        self.forget(id, version);
        self.bytes -= entry.bytes();
        if let Some(kept) = self.targets.get_mut(&entry.target) {
            kept.ids.pop_front();
            // What was before a deletion is not missed.
            if kept.deleted <= id {
                kept.missing = kept.missing.max(id);
                kept.is_untold |= version == UNPUBLISHED && self.version > 0;
            }
            if kept.last_drift.as_ref().is_some_and(|drift| drift.id == id) {
                kept.last_drift = None;
            }
            if kept.ids.is_empty() && !kept.is_untold {
                self.targets.remove(&entry.target);
            }
        }
    }

    fn forget(&mut self, id: u64, version: u64) {
        self.gone.id = self.gone.id.max(id);
        if version == UNPUBLISHED {
            return;
        }
        self.gone.version = self.gone.version.max(version);
        if self.own_from.is_none_or(|own_from| id < own_from) {
            self.gone.version_of_others = self.gone.version_of_others.max(version);
        }
    }

    /// The entries of a target, newest first.
    pub fn of_target(&self, target: &Target) -> impl Iterator<Item = &Arc<Entry>> {
        let ids = self.targets.get(target).map(|kept| kept.ids.iter().rev()).into_iter().flatten();
        ids.filter_map(|id| self.entries.get(id)).map(|stored| &stored.entry)
    }

    /// How many drifts of a target were seen since it is managed, and the last one. Both are forgotten with the entries
    /// that tell them.
    pub fn drifts(&self, target: &Target) -> (u64, Option<&Arc<Entry>>) {
        self.targets.get(target).map_or((0, None), |kept| (kept.drifts, kept.last_drift.as_ref()))
    }

    /// The newest entries that pass a filter, before an id if one is given, at most `size` of them.
    pub fn page(&self, filter: &Filter, before: Option<u64>, size: usize) -> Page {
        let end = before.unwrap_or(u64::MAX);
        let of_target = match (filter.kind, filter.namespace.as_deref(), filter.name.as_deref()) {
            (Some(kind), Some(namespace), Some(name)) => Target::new(kind, namespace, name).ok(),
            _ => None,
        };
        match of_target {
            Some(target) => page(self.of_target(&target).filter(|entry| entry.id < end), filter, size),
            None => page(self.entries.range(..end).rev().map(|(_, stored)| &stored.entry), filter, size),
        }
    }

    /// All entries, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.values().map(|stored| &stored.entry)
    }

    /// Whether the entry with this id is here.
    pub fn has(&self, id: u64) -> bool {
        self.entries.contains_key(&id)
    }

    /// Whether the entry with this id is here, or was recorded by this server.
    pub fn has_had(&self, id: u64) -> bool {
        self.has(id) || self.own_from.is_some_and(|own_from| (own_from..self.next_id).contains(&id))
    }

    /// How many entries there are.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    /// How many bytes the entries take, as [`Entry::bytes`] counts them.
    pub fn bytes(&self) -> usize {
        self.bytes
    }
}

fn page<'a>(entries: impl Iterator<Item = &'a Arc<Entry>>, filter: &Filter, size: usize) -> Page {
    let mut matching = entries.filter(|entry| filter.matches(entry));
    let entries: Vec<_> = matching.by_ref().take(size).cloned().collect();
    let before = entries.last().map(|entry| entry.id).filter(|_| matching.next().is_some());
    Page { entries, before }
}

#[cfg(test)]
mod tests;
