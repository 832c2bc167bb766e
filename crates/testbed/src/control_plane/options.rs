//! What a control plane is made of.

use std::path::PathBuf;

use anyhow::{Context as _, Result};
use tokio::task;

use crate::cluster::{Program, Programs};
use crate::workspace;

/// How to start a [`ControlPlane`](super::ControlPlane).
#[derive(Clone, Debug)]
pub struct Options {
    pub(super) testbed: PathBuf,
    pub(super) audit_log: Option<PathBuf>,
    pub(super) controllers: bool,
    pub(super) api_server_arguments: Vec<String>,
}

impl Options {
    /// etcd and kube-apiserver, without controllers and audit log. `testbed` is the path of this crate's binary, which
    /// ties the children to this process.
    pub fn new(testbed: PathBuf) -> Self {
        Self { testbed, audit_log: None, controllers: false, api_server_arguments: Vec::new() }
    }

    /// The same, with the `testbed` that cargo built beside the running program.
    pub fn beside_this_program() -> Result<Self> {
        workspace::built_binary("testbed", "replica-count-testbed").map(Self::new)
    }

    /// Adds kube-controller-manager: Deployments get pods, and deleted owners take what they own with them.
    #[must_use]
    pub fn with_controllers(mut self) -> Self {
        self.controllers = true;
        self
    }

    /// Has the API server write every request to this file, a JSON object a line, without bodies.
    #[must_use]
    pub fn with_audit_log(mut self, path: PathBuf) -> Self {
        self.audit_log = Some(path);
        self
    }

    /// Gives the API server a further flag, as one argument: `--flag=value`.
    #[must_use]
    pub fn with_api_server_argument(mut self, argument: impl Into<String>) -> Self {
        self.api_server_arguments.push(argument.into());
        self
    }

    /// Finds the programs, and builds the missing ones.
    pub(super) async fn find_programs(&self) -> Result<(Programs, Paths)> {
        let controllers = self.controllers;
        let find = move || {
            let programs = Programs::from_env()?;
            let etcd = programs.ensure(Program::Etcd)?;
            let api_server = programs.ensure(Program::ApiServer)?;
            let controller_manager =
                controllers.then(|| programs.ensure(Program::ControllerManager)).transpose()?;
            Ok((programs, Paths { etcd, api_server, controller_manager }))
        };
        task::spawn_blocking(find).await.context("the search for programs panicked")?
    }
}

/// Where the programs of a control plane are.
#[derive(Debug)]
pub(super) struct Paths {
    pub(super) etcd: PathBuf,
    pub(super) api_server: PathBuf,
    /// `None` where no controllers are wanted.
    pub(super) controller_manager: Option<PathBuf>,
}
