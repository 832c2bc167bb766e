//! A program that has the terminal, and is asked to end before it is killed.

use std::os::unix::process::ExitStatusExt as _;
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::Result;
use rustix::process::{Pid, Signal};

use crate::component::Component;

/// Nobody says how long it may run. A timer needs a number.
const NO_LIMIT: Duration = Duration::MAX;

/// A child process with the terminal of this one. It is killed on drop.
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

    /// Waits for its end; returns its exit status as a shell does.
    pub async fn wait(&mut self) -> Result<u8> {
        Ok(status(self.component.wait(NO_LIMIT).await?))
    }

    /// Asks it to end, or the process `deputy` in its place, and kills it if it has not ended after `grace`.
    pub async fn stop(&mut self, deputy: Option<Pid>, grace: Duration) -> Result<u8> {
        match deputy {
            // If it is gone, so is the one that waits for it.
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

/// What a signal ended counts as 128 and the number of the signal.
fn status(status: ExitStatus) -> u8 {
    let code = status.code().or_else(|| status.signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).unwrap_or(1)
}
