//! What happened, kept in memory for those who ask, passed on to those who watch, and written to a file of its own.
//!
//! Nothing here delays a repair or a Set: the one who records waits for nobody, watchers who are too slow miss events
//! and are told so, and the file is written by a thread of its own.

pub mod file;
pub mod metrics;
pub mod shared;
pub mod writer;

use std::sync::Arc;
use std::sync::atomic::AtomicBool;

use replica_count_core::history::entry::Entry;
use replica_count_core::history::{Bounds, History};
use tokio::sync::mpsc;

use self::file::HistoryFile;
use self::shared::{Keeping, Recorder, SharedHistory};
use self::writer::HistoryWriter;

/// How many events may wait for the writer. If more do, it writes all that is in memory instead.
const MAX_UNWRITTEN: usize = 16_384;

/// A history within these bounds that is lost with the process, and who fills it.
pub fn in_memory(bounds: Bounds) -> (SharedHistory, Recorder) {
    let history = SharedHistory::new(History::new(bounds));
    (history.clone(), Recorder::new(history, Keeping::Nowhere))
}

/// A history that several servers share by objects of the API server, and who fills it.
pub fn in_objects(bounds: Bounds) -> (SharedHistory, Recorder) {
    let mut history = History::new(bounds);
    history.follow();
    let history = SharedHistory::new(history);
    (history.clone(), Recorder::new(history, Keeping::Objects(Vec::new())))
}

/// The history that `file` has, who fills it, and who writes the file.
pub fn in_file(
    bounds: Bounds,
    file: HistoryFile,
    entries: Vec<Entry>,
) -> (SharedHistory, Recorder, HistoryWriter) {
    let history = SharedHistory::new(History::restore(bounds, entries));
    let (sender, queue) = mpsc::channel(MAX_UNWRITTEN);
    let is_behind = Arc::new(AtomicBool::new(false));
    let recorder = Recorder::new(history.clone(), Keeping::File(sender, Arc::clone(&is_behind)));
    let writer = HistoryWriter::new(history.clone(), file, queue, is_behind);
    (history, recorder, writer)
}
