//! Writes the history to its file, in a blocking loop on its own thread. A disk that is full or fails costs the part of
//! the history that memory does not have any more, and nothing else.

use std::mem;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use replica_count_core::history::entry::Entry;
use replica_count_core::history::line::encode;
use tokio::sync::mpsc;
use tracing::{info, warn};

use super::file::HistoryFile;
use super::shared::SharedHistory;

/// How many events share a write.
const BATCH: usize = 1024;
/// How long to wait after a failure. Until then, events are in memory only.
const RETRY: Duration = Duration::from_secs(10);

/// Writes the history to its file.
#[derive(Debug)]
pub struct HistoryWriter {
    history: SharedHistory,
    file: HistoryFile,
    queue: mpsc::Receiver<Arc<Entry>>,
    /// Whether the file lacks something that memory has.
    is_behind: Arc<AtomicBool>,
    /// When to try again after a failure. `None`: the last write succeeded.
    retry_at: Option<Instant>,
}

impl HistoryWriter {
    pub(super) fn new(
        history: SharedHistory,
        file: HistoryFile,
        queue: mpsc::Receiver<Arc<Entry>>,
        is_behind: Arc<AtomicBool>,
    ) -> Self {
        Self { history, file, queue, is_behind, retry_at: None }
    }

    /// Writes until nobody records any more. Blocks on the disk, so it runs on a separate thread.
    pub fn run(mut self) {
        let mut entries = Vec::new();
        while self.queue.blocking_recv_many(&mut entries, BATCH) > 0 {
            if self.retry_at.is_none_or(|at| at <= Instant::now()) {
                self.write(&entries);
            } else {
                self.is_behind.store(true, Ordering::Relaxed);
            }
            entries.clear();
        }
        if self.is_behind.load(Ordering::Relaxed) {
            self.write(&[]);
        }
    }

    /// Appends entries, or writes all that is in memory if that is due.
    fn write(&mut self, entries: &[Arc<Entry>]) {
        let is_due = self.is_behind.swap(false, Ordering::Relaxed) || self.file.is_due();
        let written = if is_due {
            let all: Vec<_> = self.history.read(|history| history.entries().cloned().collect());
            self.file.replace(&lines(&all))
        } else {
            self.file.append(&lines(entries))
        };
        let path = self.file.path().display();
        match written {
            Ok(()) => {
                if mem::take(&mut self.retry_at).is_some() {
                    info!(%path, "the history is written again");
                }
            }
            Err(error) => {
                self.history.metrics().write_failures.inc();
                self.is_behind.store(true, Ordering::Relaxed);
                if self.retry_at.replace(Instant::now() + RETRY).is_none() {
                    warn!(%path, %error, "the history cannot be written: it is in memory only");
                }
            }
        }
    }
}

fn lines(entries: &[Arc<Entry>]) -> Vec<u8> {
    let mut lines = Vec::new();
    for entry in entries {
        encode(entry, &mut lines);
    }
    lines
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::path::Path;

    use jiff::Timestamp;
    use replica_count_core::event::{Event, EventKind};
    use replica_count_core::history::Bounds;
    use replica_count_core::history::entry::What;
    use replica_count_core::target::Target;
    use tempfile::TempDir;

    use super::super::in_file;
    use super::*;

    const BOUNDS: Bounds = Bounds { per_target: 10, bytes: 64 * 1024 };

    fn event(name: &str, kind: EventKind) -> Event {
        let target = Target::deployment("shop", name).unwrap();
        Event { target, at: Timestamp::UNIX_EPOCH, generation: Some(1), kind }
    }

    /// Runs a writer on the file while events are recorded, and returns what is in memory then.
    fn run(path: &Path, bounds: Bounds, events: usize) -> (Vec<Arc<Entry>>, SharedHistory) {
        let (file, entries) =
            HistoryFile::open(path.to_owned(), path.with_extension("json"), bounds.bytes as u64);
        let (history, mut recorder, writer) = in_file(bounds, file, entries);
        let writing = std::thread::spawn(|| writer.run());
        for n in 0..events {
            recorder.record(&event(&format!("web-{}", n % 7), EventKind::Calmed));
        }
        drop(recorder);
        writing.join().unwrap();
        (history.read(|history| history.entries().cloned().collect()), history)
    }

    fn ids(entries: &[Arc<Entry>]) -> Vec<u64> {
        entries.iter().map(|entry| entry.id).collect()
    }

    #[test]
    fn what_was_written_is_there_after_a_restart() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("replicas.json.history");
        assert_eq!(ids(&run(&path, BOUNDS, 3).0), [1, 2, 3]);
        let (restored, _) = run(&path, BOUNDS, 1);
        assert_eq!((ids(&restored), restored[0].what), (vec![1, 2, 3, 4], What::Calmed));
        assert_eq!(ids(&run(&path, BOUNDS, 0).0), [1, 2, 3, 4]);
    }

    #[test]
    fn the_file_stays_bounded() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("history");
        let bounds = Bounds { per_target: 5, bytes: 16 * 1024 };
        let mut kept = Vec::new();
        for _ in 0..20 {
            kept = run(&path, bounds, 50).0;
        }
        let length = fs::metadata(&path).unwrap().len();
        assert!(length < 3 * 16 * 1024, "{length}");
        assert_eq!((ids(&kept).first(), ids(&kept).last()), (Some(&966), Some(&1000)));
        assert_eq!(ids(&run(&path, bounds, 0).0), ids(&kept));
    }

    #[test]
    fn damage_is_set_aside_and_the_rest_is_kept() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("history");
        run(&path, BOUNDS, 4);
        let mut text = fs::read(&path).unwrap();
        text[20] ^= 1;
        text.truncate(text.len() - 1);
        fs::write(&path, &text).unwrap();
        assert_eq!(ids(&run(&path, BOUNDS, 1).0), [2, 3, 4]);
        assert_eq!(fs::read(folder.path().join("history.damaged")).unwrap(), text);
        let (file, entries) = HistoryFile::open(path.clone(), path.clone(), BOUNDS.bytes as u64);
        assert_eq!((entries.len(), file.is_due()), (3, false));
    }

    #[test]
    fn a_disk_that_cannot_be_written_is_counted_and_caught_up_with() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("history");
        fs::create_dir(&path).unwrap();
        let (kept, history) = run(&path, BOUNDS, 3);
        assert_eq!(ids(&kept), [1, 2, 3]);
        assert!(history.metrics().write_failures.get() > 0);
        fs::remove_dir(&path).unwrap();

        let (file, entries) = HistoryFile::open(path.clone(), path.clone(), 1024);
        let (_, mut recorder, mut writer) = in_file(BOUNDS, file, entries);
        recorder.record(&event("web", EventKind::Calmed));
        writer.is_behind.store(true, Ordering::Relaxed);
        writer.write(&[]);
        assert_eq!(ids(&run(&path, BOUNDS, 0).0), [1]);
    }
}
