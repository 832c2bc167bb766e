//! What a node takes of the host: an empty folder to mount its memory on, and cgroups of the same name.

use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

use anyhow::{Context as _, Result};

use super::cgroup;
use crate::scratch::Scratch;

/// The hidden subcommand of `testbed`; see [`sweep`].
pub const SWEEP: &str = "node-sweep";

/// A place for one node, removed on drop.
///
/// A process of its own removes it, which waits for the lock of the folder: it is freed even if the owner is killed.
#[derive(Debug)]
pub struct Place {
    path: PathBuf,
    /// `None` when it is left to the sweeper.
    scratch: Option<Scratch>,
    sweeper: Child,
}

impl Place {
    /// Makes a place; `testbed` is the path of this crate's binary.
    pub fn new(testbed: &Path) -> Result<Self> {
        let scratch = Scratch::new()?;
        let path = scratch.path().to_owned();
        // Without a parent_death, and in a group that Ctrl-C on the terminal does not reach.
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

    /// The folder. It stays empty: what is mounted on it is seen by the node alone.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        if let Some(scratch) = self.scratch.take() {
            scratch.leave();
        }
        // It has told on stderr what went wrong.
        let _ = self.sweeper.wait();
    }
}

/// The sweeper: waits until the owner of the folder is gone and removes what is left of its node.
pub async fn sweep(folder: &Path) -> Result<()> {
    let _inherited = Scratch::inherit(folder)?;
    cgroup::remove(cgroup::name(folder)?).await
}
