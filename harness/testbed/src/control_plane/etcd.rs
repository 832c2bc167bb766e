//! The database of a control plane.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use tokio::time::{self, Instant};

use super::Options;
use crate::component::Component;
use crate::{parent_death, ports};

const READY_DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(20);

/// How many ports to try.
const ATTEMPTS: usize = 5;

/// Starts etcd; returns it and its URL.
pub(super) async fn start(options: &Options, program: &Path, folder: &Path) -> Result<(Component, String)> {
    for _ in 0..ATTEMPTS {
        let url = format!("http://127.0.0.1:{}", ports::free()?);
        let mut etcd = launch(options, program, folder, &url)?;
        match wait_until_ready(&mut etcd).await {
            Ok(()) => return Ok((etcd, url)),
            Err(_) if ports::was_taken(&etcd.tail()) => {}
            Err(error) => return Err(error),
        }
    }
    bail!("etcd found no free port in {ATTEMPTS} attempts")
}

fn launch(options: &Options, program: &Path, folder: &Path, url: &str) -> Result<Component> {
    let mut command = parent_death::command(&options.testbed, program);
    command
        .arg("--data-dir")
        .arg(folder.join("etcd"))
        .args(["--listen-client-urls", url, "--advertise-client-urls", url])
        // There are no peers, so any port will do.
        .args(["--listen-peer-urls", "http://127.0.0.1:0"])
        // The data lives no longer than the test, so it need not be durable.
        .arg("--unsafe-no-fsync");
    let log = folder.join(format!("etcd-{}.log", url.rsplit(':').next().unwrap_or_default()));
    Component::start("etcd", command, log)
}

/// Reads the log, because a successful connection might reach another program on this port.
async fn wait_until_ready(etcd: &mut Component) -> Result<()> {
    let deadline = Instant::now() + READY_DEADLINE;
    let is_ready =
        |etcd: &Component| etcd.log().iter().any(|line| line.contains("ready to serve client requests"));
    while !is_ready(etcd) {
        etcd.check_alive()?;
        if Instant::now() >= deadline {
            bail!("etcd was not ready within {READY_DEADLINE:?}:\n{}", etcd.tail());
        }
        time::sleep(POLL).await;
    }
    etcd.check_alive().context("etcd died after it was ready")
}
