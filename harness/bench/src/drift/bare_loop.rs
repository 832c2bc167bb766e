//! The physical limit: a loop that PATCHes at once what its watch shows, and does nothing else.
//!
//! No store, no index, no queue, no retries, no tests inside the patch, no word about who did it. It runs in a process of
//! its own, on one thread, as nothing in it could overlap.

use std::env;
use std::path::Path;
use std::process::{Child, Stdio};

use anyhow::{Context as _, Result, bail};
use futures_util::TryStreamExt as _;
use http::{Request, header};
use kube::Client;
use replica_count_testbed::{parent_death, workspace};
use tokio::runtime;

use super::watch::{self, Seen, Watched};
use crate::fleet::Fleet;
use crate::{arguments, kubeconfig};

/// The process of the loop. It is killed on drop.
#[derive(Debug)]
pub(super) struct BareLoop(Child);

impl BareLoop {
    /// Starts it: it holds a fleet at its count.
    pub(super) fn start(kubeconfig: &Path, fleet: &Fleet) -> Result<Self> {
        let testbed = workspace::built_binary("testbed", "replica-count-testbed")?;
        let program = env::current_exe().context("the path of this program is unknown")?;
        let mut command = parent_death::command(&testbed, &program);
        command
            .arg("bare-loop")
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(["--namespace", fleet.namespace])
            .args(["--replicas", &fleet.replicas.to_string()])
            .stdin(Stdio::null());
        Ok(Self(parent_death::spawn(command).context("cannot start the bare loop")?))
    }

    /// Fails if it has ended; it says why on stderr.
    pub(super) fn check_alive(&mut self) -> Result<()> {
        match self.0.try_wait()? {
            None => Ok(()),
            Some(status) => bail!("the bare loop ended ({status})"),
        }
    }
}

impl Drop for BareLoop {
    fn drop(&mut self) {
        // Fails only if it is gone already.
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// Is the loop.
pub(crate) fn run(arguments: &arguments::BareLoop) -> Result<()> {
    runtime::Builder::new_current_thread().enable_all().build()?.block_on(async {
        let client = kubeconfig::client(&arguments.kubeconfig).await?;
        let mut events = watch::open(&client, &Watched::Namespace(arguments.namespace.clone())).await?;
        while let Some(seen) = events.try_next().await? {
            if seen.replicas != arguments.replicas {
                repair(&client, &seen, arguments.replicas).await?;
            }
        }
        Ok(())
    })
}

async fn repair(client: &Client, seen: &Seen, replicas: i32) -> Result<()> {
    let Seen { namespace, name, .. } = seen;
    let path =
        format!("/apis/apps/v1/namespaces/{namespace}/deployments/{name}/scale?fieldManager=bare-loop");
    let request = Request::patch(path)
        .header(header::CONTENT_TYPE, "application/merge-patch+json")
        .body(format!(r#"{{"spec":{{"replicas":{replicas}}}}}"#).into_bytes())?;
    // The answer is read only so that the connection can be used again.
    client.request_text(request).await.context("cannot repair")?;
    Ok(())
}
