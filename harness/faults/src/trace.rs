//! The trace of a round: all that happened, in order and on one clock, as JSON lines.

use std::fs::{self, File};
use std::io::{BufWriter, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use replica_count_testbed::fault_proxy::Entry;
use serde::{Deserialize, Serialize};

use crate::schedule::Schedule;

/// A line: when, since the start of the round, and what.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub(crate) struct Line {
    /// When.
    pub at: Duration,
    /// What.
    pub note: Note,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Note {
    /// The round began: from this it can be run again.
    Schedule(Box<Schedule>),
    /// Something happened to a request of the server.
    Proxy(Entry),
    /// A client was answered; see `history`.
    Client(serde_json::Value),
    /// Somebody changed something in the cluster, behind the server's back.
    Cluster(String),
    /// Something went wrong with a simulated disk below a store of its own.
    Disk(String),
    /// Something was done to the server.
    Server(Deed),
    /// The blow of the schedule was struck.
    Struck,
    /// From here on no request meets a fault.
    Healed,
    /// An oracle says that something is wrong.
    Wrong(String),
}

/// What was done to the server.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(crate) enum Deed {
    /// It was started.
    Start,
    /// It was killed, or found killed, and why.
    Kill(String),
    /// It was stopped, and went on.
    Pause(Duration),
}

/// A trace that grows, in memory and in a file.
#[derive(Debug)]
pub(crate) struct Trace {
    path: PathBuf,
    started: Instant,
    inner: Mutex<(Vec<Line>, BufWriter<File>)>,
}

impl Trace {
    /// Begins a trace in a new file.
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

    /// Takes note of what happens now.
    pub(crate) fn note(&self, note: Note) {
        let mut inner = self.inner();
        let line = Line { at: self.now(), note };
        // The lines in memory are what is judged; a full disk shows when the trace is read.
        let _ = serde_json::to_writer(&mut inner.1, &line).map(|()| inner.1.write_all(b"\n"));
        inner.0.push(line);
    }

    /// All lines so far; from then on they are in the file.
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
