//! `testbed up`.

use std::env;

use anyhow::{Context as _, Result};
use replica_count_testbed::{ControlPlane, Options};
use tokio::signal;

use crate::output::{say, say_error};

pub(crate) async fn run() -> Result<()> {
    let testbed = env::current_exe().context("the path of this program is unknown")?;
    let control_plane = ControlPlane::start(Options::new(testbed).with_controllers()).await?;
    say(&format!("export KUBECONFIG={}", control_plane.admin_kubeconfig().display()));
    say_error("The control plane runs until Ctrl-C.");
    signal::ctrl_c().await.context("cannot wait for Ctrl-C")?;
    control_plane.shutdown()
}
