//! What all rounds share: a control plane, and a folder for their traces.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::Result;
use replica_count_testbed::{ControlPlane, Options, workspace};

use crate::output::say_error;
use crate::schedule::Blow;

/// How many writes the API server takes at once: few, as one with much else to do.
const WRITES: usize = 2;

/// Where rounds are played.
#[derive(Debug)]
pub struct Stage {
    control_plane: ControlPlane,
    traces: PathBuf,
    has_strace: bool,
}

impl Stage {
    /// Starts the control plane. Without controllers: a count is what is at stake, not pods.
    pub async fn start() -> Result<Self> {
        // Writes beyond these are sent away with a Retry-After of 1 s. Administrators are exempt, so the rest here is not.
        let options = Options::beside_this_program()?
            .with_api_server_argument("--enable-priority-and-fairness=false")
            .with_api_server_argument(format!("--max-mutating-requests-inflight={WRITES}"));
        let control_plane = ControlPlane::start(options).await?;
        let has_strace = Command::new("strace").arg("--version").output().is_ok();
        if !has_strace {
            say_error("*** NOT TRIED: crashes at, and failures of, file operations. There is no strace. ***");
        }
        Ok(Self { control_plane, traces: workspace::root()?.join("target/faults"), has_strace })
    }

    /// Whether a blow can be struck here.
    pub(crate) fn can_strike(&self, blow: &Blow) -> bool {
        match blow {
            Blow::Kill { .. } | Blow::Pause { .. } => true,
            Blow::KillAtFile(_) | Blow::KillAtStart(_) | Blow::FailFile { .. } => self.has_strace,
        }
    }

    pub(crate) fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// The file of the trace of a round.
    pub(crate) fn trace(&self, name: &str) -> PathBuf {
        Path::new(&self.traces).join(name).with_extension("jsonl")
    }
}
