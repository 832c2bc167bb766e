//! Describes the machine and the version under test.

use std::process::Command;
use std::{fmt, fs, thread};

use anyhow::{Context as _, Result};
use replica_count_testbed::workspace;
use serde::Serialize;

/// The hardware and the kernel.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Machine {
    cpu: String,
    cores: usize,
    memory: String,
    kernel: String,
}

/// The load averages of 1, 5 and 15 minutes, including the benchmark itself.
#[derive(Clone, Debug, Serialize)]
#[serde(transparent)]
pub(crate) struct Load(String);

/// The version of the server under test.
#[derive(Clone, Debug, Serialize)]
pub(crate) struct Version {
    project: &'static str,
    /// The commit, with `-dirty` if files differ from it; `None` outside of git.
    commit: Option<String>,
}

impl Machine {
    /// Reads the facts of this machine.
    pub(crate) fn read() -> Result<Self> {
        Ok(Self {
            cpu: entry("/proc/cpuinfo", "model name").unwrap_or_else(|_| "unknown".to_owned()),
            cores: thread::available_parallelism().context("the number of cores is unknown")?.get(),
            memory: entry("/proc/meminfo", "MemTotal")?,
            kernel: read("/proc/sys/kernel/osrelease")?,
        })
    }
}

impl Load {
    /// Reads the current load.
    pub(crate) fn read() -> Result<Self> {
        let text = read("/proc/loadavg")?;
        Ok(Self(text.split(' ').take(3).collect::<Vec<_>>().join(" ")))
    }
}

impl Version {
    /// The version of the server beside this program.
    pub(crate) fn read() -> Self {
        Self { project: env!("CARGO_PKG_VERSION"), commit: commit() }
    }
}

impl fmt::Display for Version {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(formatter, "version {}", self.project)?;
        self.commit.iter().try_for_each(|commit| write!(formatter, " ({commit})"))
    }
}

/// The value of `key` in a file of lines like `key : value`.
pub(crate) fn entry(path: &str, key: &str) -> Result<String> {
    let text = read(path)?;
    let found = text.lines().find_map(|line| {
        let (name, value) = line.split_once(':')?;
        (name.trim() == key).then(|| value.trim().to_owned())
    });
    found.with_context(|| format!("{path} has no {key}"))
}

fn read(path: &str) -> Result<String> {
    Ok(fs::read_to_string(path).with_context(|| format!("cannot read {path}"))?.trim().to_owned())
}

fn commit() -> Option<String> {
    let mut git = Command::new("git");
    git.args(["describe", "--always", "--dirty", "--abbrev=12"]).current_dir(workspace::root().ok()?);
    let output = git.output().ok().filter(|output| output.status.success())?;
    Some(String::from_utf8_lossy(&output.stdout).trim().to_owned())
}
