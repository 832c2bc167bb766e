//! `testbed up`.

use std::path::PathBuf;
use std::time::Duration;

use anyhow::Result;
use replica_count_testbed::{ControlPlane, Options};
use tokio::time;

use crate::output::{say, say_error};

/// How often to check that everything still runs.
const CHECK: Duration = Duration::from_millis(500);

pub(crate) async fn run(testbed: PathBuf) -> Result<()> {
    let mut control_plane = ControlPlane::start(Options::new(testbed).with_controllers()).await?;
    say(&format!("export KUBECONFIG={}", control_plane.admin_kubeconfig().display()));
    say_error("The control plane runs until Ctrl-C.");
    loop {
        control_plane.check_alive()?;
        time::sleep(CHECK).await;
    }
}
