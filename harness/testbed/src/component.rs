//! A running program: its process, and the file it logs to.

use std::fs::{self, File};
use std::io::{Read as _, Seek as _, SeekFrom};
use std::os::unix::process::ExitStatusExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use rustix::process::{Pid, Signal};
use tokio::time;

use crate::parent_death;

/// How often to check for an exit. Short, because benchmarks measure the time of it.
const POLL: Duration = Duration::from_millis(1);

/// How much of its log is shown when a program dies.
const TAIL_BYTES: u64 = 4096;

/// A child process that is killed on drop.
#[derive(Debug)]
pub(crate) struct Component {
    name: &'static str,
    child: Child,
    /// `None` if it logs to the terminal.
    log: Option<PathBuf>,
}

impl Component {
    /// Starts a [`parent_death::command`] that appends its log to `log`.
    pub(crate) fn start(name: &'static str, mut command: Command, log: PathBuf) -> Result<Self> {
        let file = File::options().create(true).append(true).open(&log);
        let file = file.with_context(|| format!("cannot write {}", log.display()))?;
        command.stdin(Stdio::null()).stdout(file.try_clone()?).stderr(file);
        let child = parent_death::spawn(command).with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, child, log: Some(log) })
    }

    /// Starts a [`parent_death::command`] that logs to the terminal of this process.
    pub(crate) fn start_on_terminal(name: &'static str, mut command: Command) -> Result<Self> {
        command.stdin(Stdio::null());
        let child = parent_death::spawn(command).with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, child, log: None })
    }

    /// Starts a [`parent_death::foreground_command`], which shares the terminal of this process.
    pub(crate) fn start_in_foreground(name: &'static str, command: Command) -> Result<Self> {
        let child = parent_death::spawn(command).with_context(|| format!("cannot start {name}"))?;
        Ok(Self { name, child, log: None })
    }

    pub(crate) fn id(&self) -> u32 {
        self.child.id()
    }

    /// Sends a signal. A process that has already exited is not an error: it may exit at any time anyway.
    pub(crate) fn signal(&self, signal: Signal) -> Result<()> {
        // Only `self` reaps the child, so its id cannot have been reused.
        let pid =
            i32::try_from(self.child.id()).ok().and_then(Pid::from_raw).context("a process has no id")?;
        match rustix::process::kill_process(pid, signal) {
            Ok(()) | Err(rustix::io::Errno::SRCH) => Ok(()),
            Err(error) => Err(error).with_context(|| format!("cannot send {signal:?} to {}", self.name)),
        }
    }

    /// Kills the process, even a stopped one, and waits until it is gone.
    pub(crate) fn kill(&mut self) -> Result<()> {
        self.child
            .kill()
            .and_then(|()| self.child.wait())
            .with_context(|| format!("cannot kill {}", self.name))?;
        Ok(())
    }

    /// Waits for the process to exit.
    pub(crate) async fn wait(&mut self, deadline: Duration) -> Result<ExitStatus> {
        let exited = async {
            loop {
                if let Some(status) = self.child.try_wait()? {
                    return Ok::<_, std::io::Error>(status);
                }
                time::sleep(POLL).await;
            }
        };
        match time::timeout(deadline, exited).await {
            Ok(status) => Ok(status?),
            Err(_) => Err(anyhow!("{} did not exit within {deadline:?}:\n{}", self.name, self.tail())),
        }
    }

    /// How it ended; `None` while it runs.
    pub(crate) fn exit_status(&mut self) -> Result<Option<ExitStatus>> {
        Ok(self.child.try_wait()?)
    }

    /// Fails with the tail of the log if the process has exited.
    pub(crate) fn check_alive(&mut self) -> Result<()> {
        match self.child.try_wait()? {
            None => Ok(()),
            Some(status) => Err(anyhow!("{} died ({}):\n{}", self.name, describe(status), self.tail())),
        }
    }

    /// The lines in its log file so far.
    pub(crate) fn log(&self) -> Vec<String> {
        let text = self.log.as_ref().map(|log| fs::read(log).unwrap_or_default()).unwrap_or_default();
        String::from_utf8_lossy(&text).lines().map(str::to_owned).collect()
    }

    /// The same, headed by its name, for an error about several programs.
    pub(crate) fn tail_with_name(&self) -> String {
        format!("--- {}\n{}\n", self.name, self.tail())
    }

    /// The last lines of the log, for an error.
    pub(crate) fn tail(&self) -> String {
        match &self.log {
            Some(log) => read_tail(log).unwrap_or_else(|error| format!("(its log cannot be read: {error})")),
            None => "(its log is above)".to_owned(),
        }
    }
}

impl Drop for Component {
    fn drop(&mut self) {
        // Fails only if the process is already gone.
        let _ = self.kill();
    }
}

fn describe(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("exit code {code}"),
        (None, Some(signal)) => format!("signal {signal}"),
        (None, None) => status.to_string(),
    }
}

fn read_tail(path: &Path) -> std::io::Result<String> {
    let mut file = File::open(path)?;
    let length = file.metadata()?.len();
    file.seek(SeekFrom::Start(length.saturating_sub(TAIL_BYTES)))?;
    let mut bytes = Vec::new();
    file.read_to_end(&mut bytes)?;
    Ok(String::from_utf8_lossy(&bytes).trim_end().to_owned())
}
