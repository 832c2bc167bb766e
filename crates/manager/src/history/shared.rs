//! The history in memory, and who fills it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::registry::Registry;
use replica_count_core::event::Event;
use replica_count_core::history::History;
use replica_count_core::history::entry::{Entry, What};
use replica_count_core::history::position::Position;
use replica_count_core::target::Target;
use tokio::sync::{broadcast, mpsc};
use tokio::time::Instant;

use super::metrics::HistoryMetrics;
use crate::clock;
use crate::leadership::Holder;

/// How many events a watcher may be behind before it misses some. They are shared by all watchers.
const MAX_UNREAD: usize = 16_384;
/// How many changes of settings that nobody has recorded are kept for the case that this server will have to…
const MAX_UNRECORDED: usize = 1024;
/// …and for how long. A handover is shorter. What nobody has recorded by then, nobody can.
const MAX_UNRECORDED_AGE: Duration = Duration::from_mins(1);

/// The history in memory. Clones share it.
#[derive(Clone, Debug)]
pub struct SharedHistory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    history: Mutex<History>,
    watchers: broadcast::Sender<Happened>,
    metrics: HistoryMetrics,
}

/// What a watcher is told.
#[derive(Clone, Debug)]
pub enum Happened {
    /// Something has happened.
    Event {
        /// What.
        entry: Arc<Entry>,
        /// Whether this server tells people of it, and not another one.
        is_own: bool,
        /// Where a watcher is then.
        position: Position,
    },
    /// There was more about this target than another server could tell.
    Gap(Target),
}

#[cfg(test)]
impl Happened {
    /// An event of this server, or of another one.
    pub(crate) fn event(entry: Entry, is_own: bool) -> Self {
        Self::Event { entry: Arc::new(entry), is_own, position: Position::default() }
    }
}

/// What an object of the API server tells of its target.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// The target.
    pub target: Target,
    /// What has happened to it.
    pub entries: Vec<Entry>,
    /// The id of the newest entry before them that is not told. 0: there is none.
    pub missing: u64,
    /// The version of the object.
    pub version: u64,
    /// Whether the watch has shown everything up to this version.
    pub is_latest: bool,
    /// Whether it has happened since this server has read all objects. What was there before is no news for anybody.
    pub is_news: bool,
}

impl SharedHistory {
    /// Shares a history.
    pub fn new(history: History) -> Self {
        let metrics = HistoryMetrics::default();
        metrics.show(&history);
        let (watchers, _) = broadcast::channel(MAX_UNREAD);
        Self(Arc::new(Inner { history: Mutex::new(history), watchers, metrics }))
    }

    /// Calls `reader` with the history. The recorder waits for it, so it must only read.
    pub fn read<T>(&self, reader: impl FnOnce(&History) -> T) -> T {
        reader(&self.lock())
    }

    /// Receives what happens from now on. A receiver that is too slow is told how many events it has missed.
    pub fn watch(&self) -> broadcast::Receiver<Happened> {
        self.0.watchers.subscribe()
    }

    /// The same, with what has happened since a position, and the position after that. Without a position, and if not all of
    /// that is known, there is nothing to catch up with.
    pub fn watch_since(
        &self,
        position: Option<&Position>,
    ) -> (broadcast::Receiver<Happened>, Option<Vec<Arc<Entry>>>, Position) {
        let history = self.lock();
        (self.watch(), position.and_then(|position| history.since(position)), history.position())
    }

    /// Its metrics.
    pub fn metrics(&self) -> &HistoryMetrics {
        &self.0.metrics
    }

    /// Registers the metrics.
    pub fn register(&self, registry: &mut Registry) {
        self.0.metrics.register(registry);
    }

    fn lock(&self) -> MutexGuard<'_, History> {
        self.0.history.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Adds events to the history. The writer of the file ends after it was dropped.
#[derive(Debug)]
pub struct Recorder {
    history: SharedHistory,
    keeping: Keeping,
}

/// How a history outlives the process.
#[derive(Debug)]
pub(super) enum Keeping {
    /// It does not.
    Nowhere,
    /// In a file: the queue of its writer, and whether something found no room in it.
    File(mpsc::Sender<Arc<Entry>>, Arc<AtomicBool>),
    /// In objects of the API server, which several servers share. These changes of settings were seen by this one, and may
    /// be recorded by another one, oldest first.
    Objects(Vec<Seen>),
}

/// A change of a setting that another server may record.
#[derive(Debug)]
pub(super) struct Seen {
    entry: Entry,
    at: Instant,
    /// Who told people of it.
    holder: Holder,
}

impl Recorder {
    pub(super) fn new(history: SharedHistory, keeping: Keeping) -> Self {
        Self { history, keeping }
    }

    /// Adds an event, and before it those that nobody else has recorded.
    pub fn record(&mut self, event: &Event) {
        self.record_unrecorded();
        if let Some(entry) = Entry::of(event) {
            self.add(entry, true);
        }
    }

    /// Adds what this server has just seen and nobody has recorded.
    pub fn record_unrecorded(&mut self) {
        let Keeping::Objects(unrecorded) = &mut self.keeping else { return };
        for Seen { entry, at, holder } in std::mem::take(unrecorded) {
            if at.elapsed() < MAX_UNRECORDED_AGE {
                self.add(entry, !matches!(holder, Holder::Other(_)));
            }
        }
    }

    fn add(&self, entry: Entry, is_own: bool) {
        let least_id = match self.keeping {
            Keeping::Objects(_) => id_of_now(),
            Keeping::Nowhere | Keeping::File(..) => 0,
        };
        let entry = self.update(|history| {
            let entry = history.push(entry, least_id);
            let position = history.position();
            (Arc::clone(&entry), vec![Happened::Event { entry, is_own, position }])
        });
        if let Keeping::File(queue, is_behind) = &self.keeping
            && queue.try_send(entry).is_err()
        {
            is_behind.store(true, Ordering::Relaxed);
        }
    }

    /// Keeps in mind a change of a setting, which another server records. Whatever else this server sees without a term is
    /// out of date when it gets one. A deletion leaves no object in which it could be recorded, so each server does that for
    /// itself.
    pub fn observe(&mut self, event: &Event, holder: Holder) {
        let Some(entry) = Entry::of(event) else { return };
        let Keeping::Objects(unrecorded) = &mut self.keeping else { return };
        if entry.what == What::Deleted {
            unrecorded.retain(|other| other.entry.target != entry.target);
            return self.update(|history| {
                let entry = history.push_seen(entry, id_of_now());
                let position = history.position();
                ((), vec![Happened::Event { entry, is_own: false, position }])
            });
        }
        if !is_change(&entry) || self.history.read(|history| has_change(history, &entry)) {
            return;
        }
        unrecorded.retain(|seen| seen.at.elapsed() < MAX_UNRECORDED_AGE);
        if unrecorded.len() >= MAX_UNRECORDED {
            unrecorded.remove(0);
        }
        unrecorded.push(Seen { entry, at: Instant::now(), holder });
    }

    /// Another server records what happens from now on.
    pub fn follow(&self) {
        self.history.lock().follow();
    }

    /// Adds what an object of the API server tells.
    pub fn adopt(&mut self, told: Told) {
        let Told { target, entries, missing, version, is_latest, is_news } = told;
        if let Keeping::Objects(unrecorded) = &mut self.keeping {
            unrecorded.retain(|seen| !entries.iter().any(|entry| is_same(entry, &seen.entry)));
        }
        self.update(|history| {
            let mut happened = Vec::new();
            if missing > 0 && !history.has_had(missing) {
                history.record_gap(version);
                happened.push(Happened::Gap(target.clone()));
            }
            let mut entries = entries.into_iter();
            while let Some(entry) = entries.next() {
                // This server may have recorded the same change at a handover.
                let is_known = !history.has(entry.id) && has_change(history, &entry);
                let adopted = if is_known { None } else { history.adopt(entry, version) };
                if is_latest && entries.len() == 0 {
                    history.record_version(version);
                }
                let position = history.position();
                happened.extend(adopted.map(|entry| Happened::Event { entry, is_own: false, position }));
            }
            history.record_missing(&target, missing);
            ((), if is_news { happened } else { Vec::new() })
        });
    }

    /// Records that everything was adopted that could be read in this version.
    pub fn record_shown(&self, version: u64) {
        self.history.lock().record_version(version);
    }

    /// Records that everything was adopted that can be read in this version, and that what was there before is not known.
    pub fn record_listed(&self, version: u64) {
        let mut history = self.history.lock();
        history.record_version(version);
        history.record_gap(version);
    }

    /// Changes the history, and tells all watchers. They are told in the order of the changes.
    fn update<T>(&self, change: impl FnOnce(&mut History) -> (T, Vec<Happened>)) -> T {
        let mut history = self.history.lock();
        let (result, happened) = change(&mut history);
        self.history.0.metrics.show(&history);
        for happened in happened {
            // It fails if nobody watches.
            let _ = self.history.0.watchers.send(happened);
        }
        result
    }
}

/// Whether a setting was changed, and not deleted.
fn is_change(entry: &Entry) -> bool {
    matches!(entry.what, What::Set | What::Enforced | What::Ignored)
}

/// Whether two entries are about the same change of a setting, seen by two servers.
fn is_same(one: &Entry, other: &Entry) -> bool {
    let change = |entry: &Entry| (entry.what, entry.generation, entry.to, entry.until);
    is_change(one) && one.target == other.target && change(one) == change(other)
}

/// Whether the history has this change of a setting. A new object begins with the first generation.
fn has_change(history: &History, change: &Entry) -> bool {
    let mut entries = history.of_target(&change.target).take_while(|entry| entry.what != What::Deleted);
    entries.any(|entry| is_same(entry, change))
}

/// The least id of what happens now: several servers give ids, and none of them gives one twice.
fn id_of_now() -> u64 {
    clock::now().wall.as_microsecond().try_into().unwrap_or_default()
}

#[cfg(test)]
mod tests;
