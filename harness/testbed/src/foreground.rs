//! A program with access to the terminal, stopped with SIGTERM before it is killed.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::Result;
use rustix::process::{Pid, Signal};

use crate::component::Component;

/// The program may run as long as it likes.
const NO_LIMIT: Duration = Duration::MAX;

/// A child process that shares the terminal of this one. It is killed on drop.
#[derive(Debug)]
pub struct Foreground {
    component: Component,
}

impl Foreground {
    /// Starts a [`parent_death::foreground_command`](crate::parent_death::foreground_command).
    pub fn start(name: &'static str, command: Command) -> Result<Self> {
        Ok(Self { component: Component::start_in_foreground(name, command)? })
    }

    /// The id of the process.
    pub fn id(&self) -> u32 {
        self.component.id()
    }

    /// Waits for it to end, and returns its exit status as a shell would.
    pub async fn wait(&mut self) -> Result<u8> {
        Ok(status(self.component.wait(NO_LIMIT).await?))
    }

    /// Sends SIGTERM to it, or to `instead` if given, and kills it if it is still running after `grace`.
    pub async fn stop(&mut self, instead: Option<Pid>, grace: Duration) -> Result<u8> {
        match instead {
            // If this process is gone, its parent is about to end.
            Some(pid) => drop(rustix::process::kill_process(pid, Signal::TERM)),
            None => self.component.signal(Signal::TERM)?,
        }
        if let Ok(ended) = self.component.wait(grace).await {
            return Ok(status(ended));
        }
        self.component.kill()?;
        self.wait().await
    }
}

/// Death by a signal counts as 128 plus its number.
fn status(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
