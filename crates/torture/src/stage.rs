//! What all rounds share: a control plane, and a folder for their traces.

use std::path::{Path, PathBuf};

use anyhow::Result;
use replica_count_testbed::{ControlPlane, Options, workspace};

/// Where rounds are played.
#[derive(Debug)]
pub struct Stage {
    control_plane: ControlPlane,
    traces: PathBuf,
}

impl Stage {
    /// Starts the control plane. Without controllers: a count is what is at stake, not pods.
    pub async fn start() -> Result<Self> {
        let control_plane = ControlPlane::start(Options::beside_this_program()?).await?;
        Ok(Self { control_plane, traces: workspace::root()?.join("target/torture") })
    }

    pub(crate) fn control_plane(&self) -> &ControlPlane {
        &self.control_plane
    }

    /// The file of the trace of a round.
    pub(crate) fn trace(&self, name: &str) -> PathBuf {
        Path::new(&self.traces).join(name).with_extension("jsonl")
    }
}
