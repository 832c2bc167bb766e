//! Runs commands in a shell, as a user would paste them.

use std::fs::{self, File};
use std::path::Path;
use std::process::Stdio;

use anyhow::{Result, bail};
use tokio::process::{Child, Command};

use crate::eventually::eventually;
use crate::fixture::Fixture;

/// What kubectl prints when it listens.
const FORWARDING: &str = "Forwarding from 127.0.0.1:8080";

impl Fixture {
    /// A shell command in a folder.
    pub(crate) fn shell_command(&self, folder: &Path, line: &str) -> Command {
        self.programs.command(folder, ["bash", "-euo", "pipefail", "-c", line])
    }

    /// Starts a port-forward of 8080 and waits until it listens. It ends when the child is dropped.
    pub(crate) async fn forward(&self, folder: &Path, line: &str) -> Result<Child> {
        let log = folder.join("forward");
        let file = File::create(&log)?;
        let mut command = self.shell_command(folder, &format!("exec {}", line.trim()));
        let mut child = command.stdout(file.try_clone()?).stderr(file).stdin(Stdio::null()).spawn()?;
        let listens = eventually("the port-forward listens", async || {
            let output = fs::read_to_string(&log)?;
            if output.contains(FORWARDING) { Ok(()) } else { bail!("its output is: {output}") }
        });
        tokio::select! {
            listens = listens => listens?,
            ended = child.wait() => bail!("`{line}` ended ({}): {}", ended?, fs::read_to_string(&log)?),
        }
        Ok(child)
    }
}
