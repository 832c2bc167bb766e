//! The user's own binaries, from the folder that `KUBEBUILDER_ASSETS` names.

use std::path::PathBuf;

use anyhow::{Result, bail};

use super::Program;

/// A folder of binaries, laid out as by `setup-envtest`.
#[derive(Debug)]
pub(super) struct Assets {
    dir: PathBuf,
}

impl Assets {
    pub(super) fn new(dir: PathBuf) -> Self {
        Self { dir }
    }

    /// The program in this folder; `None` if it should be built instead.
    ///
    /// A folder without etcd or kube-apiserver is a mistake, and building them for minutes would hide it.
    pub(super) fn find(&self, program: Program) -> Result<Option<PathBuf>> {
        let path = self.dir.join(program.name());
        if path.is_file() {
            return Ok(Some(path));
        }
        match program {
            Program::Etcd | Program::ApiServer => bail!(
                "KUBEBUILDER_ASSETS is {dir}, which has no {name}: point it at a folder with etcd and kube-apiserver \
                 (`setup-envtest use -p path` prints one), or unset it to have them built from source",
                dir = self.dir.display(),
                name = program.name(),
            ),
            Program::ControllerManager
            | Program::Kubectl
            | Program::Grpcurl
            | Program::Scheduler
            | Program::Kubelet
            | Program::Proxy
            | Program::CoreDns
            | Program::Peer => Ok(None),
        }
    }
}
