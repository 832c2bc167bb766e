//! What every part of a node is started with.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::cluster::{Program, Programs};
use crate::component::Component;
use crate::parent_death;

/// Where a node keeps its files, and how it starts its programs.
#[derive(Debug)]
pub struct Site {
    testbed: PathBuf,
    folder: PathBuf,
    programs: Programs,
}

impl Site {
    /// `testbed` is the path of this crate's binary, `folder` that of a [`Place`](super::Place).
    pub fn new(testbed: PathBuf, folder: PathBuf) -> Result<Self> {
        Ok(Self { testbed, folder, programs: Programs::from_env()? })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The cgroup of the pods, which the place has made.
    pub(super) fn cgroup(&self) -> Result<String> {
        Ok(format!("/{}", super::cgroup::name(&self.folder)?))
    }

    /// A new folder of this name.
    pub(super) fn subfolder(&self, name: &str) -> Result<PathBuf> {
        let path = self.folder.join(name);
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    }

    /// Writes a configuration file and returns its path.
    pub(super) fn write(&self, name: &str, text: &str) -> Result<PathBuf> {
        let path = self.subfolder("configuration")?.join(name);
        fs::write(&path, text).with_context(|| format!("cannot write {}", path.display()))?;
        Ok(path)
    }

    /// The same for one in JSON, which is YAML too.
    pub(super) fn write_json(&self, name: &str, value: &Value) -> Result<PathBuf> {
        self.write(name, &format!("{value:#}\n"))
    }

    /// Starts a program that was built, with arguments that `configure` adds.
    pub(super) fn start(&self, program: Program, configure: impl FnOnce(&mut Command)) -> Result<Component> {
        let path = self.programs.ensure(program)?;
        self.start_at(&path, program.name(), configure)
    }

    /// Starts a program of this machine.
    pub(super) fn start_at(
        &self,
        path: &Path,
        name: &'static str,
        configure: impl FnOnce(&mut Command),
    ) -> Result<Component> {
        let mut command = parent_death::command(&self.testbed, path);
        configure(&mut command);
        Component::start(name, command, self.subfolder("logs")?.join(name).with_extension("log"))
    }
}
