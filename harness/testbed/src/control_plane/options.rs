//! The options of a control plane.

use std::env;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use anyhow::{Context as _, Result};
use tokio::task;

use crate::cluster::{Program, Programs};
use crate::workspace;

/// How to start a [`ControlPlane`](super::ControlPlane).
#[derive(Clone, Debug)]
pub struct Options {
    pub(crate) testbed: PathBuf,
    pub(super) audit_log: Option<PathBuf>,
    pub(super) controllers: Controllers,
    pub(super) api_server_arguments: Vec<String>,
    /// The parent of its temporary folder.
    pub(super) parent_folder: PathBuf,
    /// The address of the API server for a node and its pods; `None` without a node.
    pub(super) node_address: Option<Ipv4Addr>,
}

/// Which controllers run.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Controllers {
    Nothing,
    /// Those that create pods for Deployments.
    Workloads,
    /// All that a cluster with nodes needs.
    All,
}

impl Options {
    /// etcd and kube-apiserver, without controllers or audit log. `testbed` is the path of this crate's binary, which
    /// ties the lifetime of the children to this process.
    pub fn new(testbed: PathBuf) -> Self {
        Self {
            testbed,
            audit_log: None,
            controllers: Controllers::Nothing,
            api_server_arguments: Vec::new(),
            parent_folder: env::temp_dir(),
            node_address: None,
        }
    }

    /// The same, with the `testbed` that cargo built beside the running program.
    pub fn beside_this_program() -> Result<Self> {
        workspace::built_binary("testbed", "replica-count-testbed").map(Self::new)
    }

    /// Adds kube-controller-manager: Deployments get pods, and deleting an owner deletes its dependents.
    #[must_use]
    pub fn with_controllers(mut self) -> Self {
        self.controllers = Controllers::Workloads;
        self
    }

    /// Has the API server log every request to this file, one JSON object per line, without bodies.
    #[must_use]
    pub fn with_audit_log(mut self, path: PathBuf) -> Self {
        self.audit_log = Some(path);
        self
    }

    /// Passes another flag to the API server, as one argument: `--flag=value`.
    #[must_use]
    pub fn with_api_server_argument(mut self, argument: impl Into<String>) -> Self {
        self.api_server_arguments.push(argument.into());
        self
    }

    /// Prepares it for a node with this address: the API server listens there, too, and all controllers run.
    #[must_use]
    pub(crate) fn for_node(mut self, address: Ipv4Addr, parent_folder: PathBuf) -> Self {
        self.node_address = Some(address);
        self.controllers = Controllers::All;
        self.parent_folder = parent_folder;
        self
    }

    /// Finds the programs, and builds the missing ones.
    pub(super) async fn find_programs(&self) -> Result<(Programs, Paths)> {
        let controllers = self.controllers != Controllers::Nothing;
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

/// The paths of a control plane's programs.
#[derive(Debug)]
pub(super) struct Paths {
    pub(super) etcd: PathBuf,
    pub(super) api_server: PathBuf,
    /// `None` without controllers.
    pub(super) controller_manager: Option<PathBuf>,
}
