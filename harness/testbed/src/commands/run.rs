//! `testbed run`: the server, as a person tries it.

mod local;
mod ports;
mod theirs;

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use replica_count_testbed::{Manager, manager, workspace};
use tokio::time;

use crate::arguments::Run;

/// How often it is checked that everything still runs.
const CHECK: Duration = Duration::from_millis(500);

pub(crate) async fn run(testbed: PathBuf, arguments: Run) -> Result<()> {
    ports::check()?;
    match arguments.kubeconfig {
        None => local::run(testbed).await,
        Some(kubeconfig) => theirs::run(testbed, &kubeconfig, arguments.context.as_deref()).await,
    }
}

/// A server on the default ports, whose store is kept in `dev/NAME` of the project and certificates in `certificates`.
fn options(testbed: PathBuf, kubeconfig: &Path, name: &str) -> Result<manager::Options> {
    let root = workspace::root()?;
    let folder = root.join("dev").join(name);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let options = manager::Options::new(testbed, kubeconfig, &folder)?;
    Ok(options.in_foreground().with_certificates(root.join("certificates")))
}

/// Returns when the server ends, which it does not by itself.
async fn watch_over(manager: &mut Manager) -> Result<()> {
    loop {
        manager.check_alive()?;
        time::sleep(CHECK).await;
    }
}

/// The user's line, which lists what is managed in `namespace`. It is to be run at the project's root.
fn grpcurl_line(namespace: &str) -> String {
    format!(
        r#"grpcurl \
  -cacert certificates/ca/ca.crt \
  -cert certificates/client/client.crt \
  -key certificates/client/client.key \
  -d '{{"Namespace": "{namespace}"}}' \
  -proto proto/deployments.proto \
  localhost:8080 \
  proto.DeploymentsService.ListDeployments"#
    )
}
