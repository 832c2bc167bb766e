//! The resources of the host that a node uses: an empty folder to mount its tmpfs on, and cgroups with the same name.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

use super::cgroup;
use crate::scratch::Scratch;

/// The hidden subcommand of `testbed`; see [`sweep`].
pub const SWEEP: &str = "node-sweep";

/// The host resources of one node, removed on drop.
///
/// A separate process removes them, once it gets the lock of the folder, which is released even if the owner is killed.
#[derive(Debug)]
pub struct HostResources {
    path: PathBuf,
    /// `None` once the sweeper takes it over.
    scratch: Option<Scratch>,
    sweeper: Child,
}

impl HostResources {
    /// Creates the resources; `testbed` is the path of this crate's binary.
    pub fn new(testbed: &Path) -> Result<Self> {
        let scratch = Scratch::new()?;
        let path = scratch.path().to_owned();
        // Without a parent-death guard, and in its own process group, so Ctrl-C on the terminal does not reach it.
        let sweeper = Command::new(testbed)
            .arg(SWEEP)
            .arg(&path)
            .process_group(0)
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .spawn()
            .context("cannot start the sweeper")?;
        let this = Self { path, scratch: Some(scratch), sweeper };
        cgroup::create(cgroup::name(&this.path)?)?;
        Ok(this)
    }

    /// The folder. It stays empty on the host: only the node sees what is mounted on it.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for HostResources {
    fn drop(&mut self) {
        if let Some(scratch) = self.scratch.take() {
            scratch.leave();
        }
        // The sweeper reports its errors on stderr.
        let _ = self.sweeper.wait();
    }
}

/// The sweeper: waits until the owner of the folder is gone, and removes the leftovers of its node.
pub async fn sweep(folder: &Path) -> Result<()> {
    let _inherited = Scratch::inherit(folder)?;
    cgroup::remove(cgroup::name(folder)?).await
}
