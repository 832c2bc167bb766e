//! The trace of a round: everything that happened, in order and on one clock, as JSON lines.

use std::collections::BTreeSet;
use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use replica_count_testbed::fault_proxy::Entry;
use serde::{Deserialize, Serialize};

use crate::schedule::Schedule;

/// A line of a trace.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// The time since the start of the round.
    pub at: Duration,
    /// What happened.
    pub note: Note,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Note {
    /// The round has begun. Contains everything needed to replay it.
    Schedule(Box<Schedule>),
    /// Something happened to a request of the server.
    Proxy(Entry),
    /// A client's request has ended; see `history`.
    Client(serde_json::Value),
    /// Somebody changed the cluster behind the server's back.
    Cluster(String),
    /// A failure was injected into a simulated disk.
    Disk(String),
    /// The server was started, killed or paused.
    Server(ServerEvent),
    /// The scheduled server fault was injected.
    #[serde(rename = "struck")]
    ServerFaultInjected,
    /// All faults have ended.
    Healed,
    /// These counts are wrong from now on, until the next such note. None is while the server cannot be asked.
    WrongCounts(Wrong),
    /// An admission policy changes counts that the server writes for this target.
    PolicyChanges(String),
    /// An oracle found a violation.
    #[serde(rename = "wrong")]
    Violation(String),
}

/// The targets whose counts are wrong.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(crate) struct Wrong {
    /// Those for which the server shows it, or shows that it may be.
    pub shown: BTreeSet<String>,
    /// Those which are in sync, the server says.
    pub hidden: BTreeSet<String>,
}

/// An action on the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum ServerEvent {
    /// It was started.
    Start,
    /// It was killed, or found dead, for this reason.
    Kill(String),
    /// It was paused for this long.
    Pause(Duration),
}

/// A growing trace, in memory and in a file.
#[derive(Debug)]
pub(crate) struct Trace {
    path: PathBuf,
    started: Instant,
    inner: Mutex<(Vec<Line>, BufWriter<File>)>,
}

impl Trace {
    /// Creates a trace with a new file.
    pub(crate) fn create(path: PathBuf) -> Result<Self> {
        let context = || format!("cannot write {}", path.display());
        if let Some(folder) = path.parent() {
            fs::create_dir_all(folder).with_context(context)?;
        }
        let file = BufWriter::new(File::create(&path).with_context(context)?);
        Ok(Self { path, started: Instant::now(), inner: Mutex::new((Vec::new(), file)) })
    }

    /// Its file.
    pub(crate) fn path(&self) -> &Path {
        &self.path
    }

    /// The clock of the round.
    pub(crate) fn now(&self) -> Duration {
        self.started.elapsed()
    }

    /// Adds a line with the current time.
    pub(crate) fn note(&self, note: Note) {
        let mut inner = self.inner();
        let line = Line { at: self.now(), note };
        // Only the lines in memory are judged, so errors are ignored here. They show when the trace is read.
        let _ = serde_json::to_writer(&mut inner.1, &line).map(|()| inner.1.write_all(b"\n"));
        inner.0.push(line);
    }

    /// Returns all lines so far, and flushes them to the file.
    pub(crate) fn lines(&self) -> Vec<Line> {
        let mut inner = self.inner();
        let _ = inner.1.flush();
        inner.0.clone()
    }

    fn inner(&self) -> MutexGuard<'_, (Vec<Line>, BufWriter<File>)> {
        self.inner.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads the trace of an earlier round.
pub(crate) fn read(path: &Path) -> Result<Vec<Line>> {
    let text = fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
    text.lines()
        .enumerate()
        .map(|(n, line)| {
            serde_json::from_str(line).with_context(|| format!("{}, line {}", path.display(), n + 1))
        })
        .collect()
}
