//! What a control plane is made of.

use std::path::PathBuf;

use anyhow::Result;

use crate::cluster::Program;
use crate::workspace;

/// How to start a [`ControlPlane`](super::ControlPlane).
#[derive(Clone, Debug)]
pub struct Options {
    pub(super) testbed: PathBuf,
    pub(super) audit_log: Option<PathBuf>,
    pub(super) controllers: bool,
}

impl Options {
    /// etcd and kube-apiserver, without controllers and audit log. `testbed` is the path of this crate's binary, which
    /// ties the children to this process.
    pub fn new(testbed: PathBuf) -> Self {
        Self { testbed, audit_log: None, controllers: false }
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

    /// The programs to start, in this order.
    pub(super) fn programs(&self) -> Vec<Program> {
        let mut programs = vec![Program::Etcd, Program::ApiServer];
        if self.controllers {
            programs.push(Program::ControllerManager);
        }
        programs
    }
}
