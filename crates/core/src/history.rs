//! The history: what happened, within bounds. The oldest entries give way to new ones.

pub mod entry;
pub mod line;
pub mod query;
pub mod sample;

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::Arc;

use self::entry::{Entry, What};
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

/// What happened.
#[derive(Debug)]
pub struct History {
    bounds: Bounds,
    /// All entries by id, which is their order.
    entries: BTreeMap<u64, Arc<Entry>>,
    targets: HashMap<Target, Kept>,
    bytes: usize,
    next_id: u64,
}

/// What is kept of a target that has entries.
#[derive(Debug, Default)]
struct Kept {
    /// The ids of its entries, oldest first.
    ids: VecDeque<u64>,
    /// How many drifts were seen since it is managed.
    drifts: u64,
    last_drift: Option<Arc<Entry>>,
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
        Self { bounds, entries: BTreeMap::new(), targets: HashMap::new(), bytes: 0, next_id: 1 }
    }

    /// A history of stored entries. Entries that do not follow the one before are left out.
    pub fn restore(bounds: Bounds, entries: impl IntoIterator<Item = Entry>) -> Self {
        let mut history = Self::new(bounds);
        for entry in entries {
            if entry.id >= history.next_id && entry.id < u64::MAX {
                history.insert(entry);
            }
        }
        history
    }

    /// Adds what has just happened, and gives it its id and the number of the drift.
    pub fn push(&mut self, mut entry: Entry) -> Arc<Entry> {
        entry.id = self.next_id;
        if entry.what == What::Drifted {
            entry.times = Some(self.drifts(&entry.target).0 + 1);
        }
        self.insert(entry)
    }

    fn insert(&mut self, entry: Entry) -> Arc<Entry> {
        let (id, entry) = (entry.id, Arc::new(entry));
        self.next_id = id + 1;
        if self.bounds.per_target == 0 || entry.bytes() > self.bounds.bytes {
            return entry;
        }
        let kept = self.targets.entry(entry.target.clone()).or_default();
        match entry.what {
            What::Drifted => {
                kept.drifts = entry.times.unwrap_or_default();
                kept.last_drift = Some(Arc::clone(&entry));
            }
            What::Deleted => (kept.drifts, kept.last_drift) = (0, None),
            _ => {}
        }
        kept.ids.push_back(id);
        let oldest = (kept.ids.len() > self.bounds.per_target).then(|| kept.ids[0]);
        self.bytes += entry.bytes();
        self.entries.insert(id, Arc::clone(&entry));
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
        let Some(entry) = self.entries.remove(&id) else { return };
        self.bytes -= entry.bytes();
        if let Some(kept) = self.targets.get_mut(&entry.target) {
            kept.ids.pop_front();
            if kept.last_drift.as_ref().is_some_and(|drift| drift.id == id) {
                kept.last_drift = None;
            }
            if kept.ids.is_empty() {
                self.targets.remove(&entry.target);
            }
        }
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
            Some(target) => {
                let ids = self.targets.get(&target).map(|kept| kept.ids.iter().rev()).into_iter().flatten();
                let entries = ids.filter(|id| **id < end).filter_map(|id| self.entries.get(id));
                page(entries, filter, size)
            }
            None => page(self.entries.range(..end).rev().map(|(_, entry)| entry), filter, size),
        }
    }

    /// All entries, oldest first.
    pub fn entries(&self) -> impl Iterator<Item = &Arc<Entry>> {
        self.entries.values()
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
