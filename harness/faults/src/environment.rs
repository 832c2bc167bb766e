//! The environment that all rounds share: a control plane, and a folder for traces.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use replica_count_testbed::{ControlPlane, Options, workspace};

use crate::output::say_error;
use crate::schedule::ServerFault;

/// How many concurrent writes the API server accepts: few, like an overloaded one.
const MAX_WRITES: usize = 2;

/// The environment of rounds.
#[derive(Debug)]
pub struct Environment {
    control_plane: ControlPlane,
    traces: PathBuf,
    has_strace: bool,
}

impl Environment {
    /// Starts the control plane, without controllers: rounds check counts, not pods.
    pub async fn start() -> Result<Self> {
        // Further writes are refused with a Retry-After of 1 s. The harness is not affected: administrators are exempt.
        let options = Options::beside_this_program()?
            .with_api_server_argument("--enable-priority-and-fairness=false")
            .with_api_server_argument(format!("--max-mutating-requests-inflight={MAX_WRITES}"));
        let control_plane = ControlPlane::start(options).await?;
        let has_strace = Command::new("strace").arg("--version").output().is_ok();
        if !has_strace {
            say_error(
                "*** NOT TESTED: crashes and failures at file operations, because strace is missing. ***",
            );
        }
        Ok(Self { control_plane, traces: workspace::root()?.join("target/faults"), has_strace })
    }

    /// Whether this machine can inject a server fault.
    pub(crate) fn can_inject(&self, server_fault: &ServerFault) -> bool {
        self.has_strace || !server_fault.is_of_files()
    }

    pub(crate) fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// The trace file of a round.
    pub(crate) fn trace(&self, name: &str) -> PathBuf {
        Path::new(&self.traces).join(name).with_extension("jsonl")
    }
}
