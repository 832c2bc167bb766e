//! Commands as a user pastes them into a shell.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Result, bail};
use tokio::process::{Child, Command};

use crate::eventually::eventually;
use crate::stage::Stage;

/// What kubectl says when it listens.
const FORWARDING: &str = "Forwarding from 127.0.0.1:8080";

impl Stage {
    /// A command of a shell in a folder.
    pub(crate) fn paste(&self, folder: &Path, line: &str) -> Command {
        self.programs.command(folder, ["bash", "-euo", "pipefail", "-c", line])
    }

    /// Runs the line of a port-forward of 8080 until it is dropped, and waits until it listens.
    pub(crate) async fn forward(&self, folder: &Path, line: &str) -> Result<Child> {
        let log = folder.join("forward");
        let file = File::create(&log)?;
        let mut command = self.paste(folder, &format!("exec {}", line.trim()));
        let mut child = command.stdout(file.try_clone()?).stderr(file).stdin(Stdio::null()).spawn()?;
        let listens = eventually("the port-forward listens", async || {
            let said = fs::read_to_string(&log)?;
            if said.contains(FORWARDING) { Ok(()) } else { bail!("it says: {said}") }
        });
        tokio::select! {
            listens = listens => listens?,
            ended = child.wait() => bail!("`{line}` ended ({}): {}", ended?, fs::read_to_string(&log)?),
        }
        Ok(child)
    }
}
