//! Shared by all parts of a node: its folder, and how programs are started.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};
use serde_json::Value;

use crate::cluster::{Program, Programs};
use crate::component::Component;
use crate::parent_death;

/// The folder of a node, and how it starts its programs.
#[derive(Debug)]
pub struct Site {
    testbed: PathBuf,
    folder: PathBuf,
    programs: Programs,
}

impl Site {
    /// `testbed` is the path of this crate's binary, `folder` that of the [`HostResources`](super::HostResources).
    pub fn new(testbed: PathBuf, folder: PathBuf) -> Result<Self> {
        Ok(Self { testbed, folder, programs: Programs::from_env()? })
    }

    pub(super) fn folder(&self) -> &Path {
        &self.folder
    }

    /// The parent cgroup of the pods, which the host resources have created.
    pub(super) fn cgroup(&self) -> Result<String> {
        Ok(format!("/{}", super::cgroup::name(&self.folder)?))
    }

    /// Creates a subfolder.
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

    /// The same in JSON, which is also valid YAML.
    pub(super) fn write_json(&self, name: &str, value: &Value) -> Result<PathBuf> {
        self.write(name, &format!("{value:#}\n"))
    }

    /// Starts a built program; `configure` adds its arguments.
    pub(super) fn start(&self, program: Program, configure: impl FnOnce(&mut Command)) -> Result<Component> {
        let path = self.programs.ensure(program)?;
        self.start_at(&path, program.name(), configure)
    }

    /// Starts a program of the host.
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
