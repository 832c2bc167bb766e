//! `testbed run`: runs the server for a person to try.

mod existing_cluster;
mod local;
mod ports;

use std::path::{Path, PathBuf};
use std::time::Duration;
use std::{fs, io};

use anyhow::{Context as _, Result};
use replica_count_testbed::{Manager, manager, workspace};
use tokio::time;

use crate::arguments::Run;

/// How often to check that everything still runs.
const CHECK: Duration = Duration::from_millis(500);

pub(crate) async fn run(testbed: PathBuf, arguments: Run) -> Result<()> {
    ports::check()?;
    match arguments.kubeconfig {
        None => local::run(testbed).await,
        Some(kubeconfig) => existing_cluster::run(testbed, &kubeconfig, arguments.context.as_deref()).await,
    }
}

/// A server on the default ports, with its store in `dev/NAME` and its certificates in `certificates` of the project.
fn options(testbed: PathBuf, kubeconfig: &Path, name: &str) -> Result<manager::Options> {
    let root = workspace::root()?;
    let folder = root.join("dev").join(name);
    fs::create_dir_all(&folder).with_context(|| format!("cannot create {}", folder.display()))?;
    let options = manager::Options::new(testbed, kubeconfig, &folder)?;
    Ok(options.in_foreground().with_certificates(root.join("certificates")))
}

/// Deletes what an earlier server kept in a folder of `dev/`.
fn forget(name: &str) -> Result<()> {
    let folder = workspace::root()?.join("dev").join(name);
    match fs::remove_dir_all(&folder) {
        Err(error) if error.kind() != io::ErrorKind::NotFound => {
            Err(error).with_context(|| format!("cannot delete {}", folder.display()))
        }
        Ok(()) | Err(_) => Ok(()),
    }
}

/// Returns an error when the server dies.
async fn watch_over(manager: &mut Manager) -> Result<()> {
    loop {
        manager.check_alive()?;
        time::sleep(CHECK).await;
    }
}

/// A command that lists what is managed in `namespace`, to be run at the project's root.
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
