//! The history in memory, and who fills it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prometheus_client::registry::Registry;
use replica_count_core::event::Event;
use replica_count_core::history::History;
use replica_count_core::history::entry::Entry;
use tokio::sync::{broadcast, mpsc};

use super::metrics::HistoryMetrics;

/// How many events a watcher may be behind before it misses some. They are shared by all watchers.
const MAX_UNREAD: usize = 16_384;

/// The history in memory. Clones share it.
#[derive(Clone, Debug)]
pub struct SharedHistory(Arc<Inner>);

#[derive(Debug)]
struct Inner {
    history: Mutex<History>,
    watchers: broadcast::Sender<Arc<Entry>>,
    metrics: HistoryMetrics,
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
    pub fn watch(&self) -> broadcast::Receiver<Arc<Entry>> {
        self.0.watchers.subscribe()
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
    /// The queue of the writer, and whether something found no room in it.
    unwritten: Option<(mpsc::Sender<Arc<Entry>>, Arc<AtomicBool>)>,
}

impl Recorder {
    pub(super) fn new(
        history: SharedHistory,
        unwritten: Option<(mpsc::Sender<Arc<Entry>>, Arc<AtomicBool>)>,
    ) -> Self {
        Self { history, unwritten }
    }

    /// Adds an event.
    pub fn record(&self, event: &Event) {
        let Some(entry) = Entry::of(event) else { return };
        let entry = {
            let mut history = self.history.lock();
            let entry = history.push(entry);
            self.history.0.metrics.show(&history);
            entry
        };
        // It fails if nobody watches.
        let _ = self.history.0.watchers.send(Arc::clone(&entry));
        if let Some((queue, is_behind)) = &self.unwritten
            && queue.try_send(entry).is_err()
        {
            is_behind.store(true, Ordering::Relaxed);
        }
    }
}
