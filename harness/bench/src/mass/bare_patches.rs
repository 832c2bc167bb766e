//! The physical limit of repairs per second: a list of Deployments, then only the server's PATCHes.
//!
//! They run in a separate process, with a fixed number of requests in flight.

use std::env;
use std::path::Path;
use std::process::{Child, Stdio};

use anyhow::{Context as _, Result, bail};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use http::{Request, header};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Client;
use kube::api::{Api, ListParams};
use replica_count_testbed::{parent_death, workspace};
use serde_json::json;
use tokio::runtime::Runtime;

use crate::fleet::Fleet;
use crate::{arguments, kubeconfig};

/// The process. It ends by itself, or is killed on drop.
#[derive(Debug)]
pub(super) struct BarePatches(Child);

impl BarePatches {
    /// Starts it to change `count` Deployments of a fleet to the fleet's count.
    pub(super) fn start(kubeconfig: &Path, fleet: &Fleet, count: usize, concurrency: usize) -> Result<Self> {
        let testbed = workspace::built_binary("testbed", "replica-count-testbed")?;
        let program = env::current_exe().context("the path of this program is unknown")?;
        let mut command = parent_death::command(&testbed, &program);
        command
            .arg("bare-patches")
            .arg("--kubeconfig")
            .arg(kubeconfig)
            .args(["--namespace", fleet.namespace])
            .args(["--count", &count.to_string()])
            .args(["--concurrency", &concurrency.to_string()])
            .args(["--replicas", &fleet.replicas.to_string()])
            .stdin(Stdio::null());
        Ok(Self(parent_death::spawn(command).context("cannot start the bare PATCHes")?))
    }

    /// Fails if it has failed; the reason is on stderr.
    pub(super) fn check(&mut self) -> Result<()> {
        match self.0.try_wait()? {
            Some(status) if !status.success() => bail!("the bare PATCHes failed ({status})"),
            Some(_) | None => Ok(()),
        }
    }
}

impl Drop for BarePatches {
    fn drop(&mut self) {
        // Fails only if it has already ended.
        let _ = self.0.kill().and_then(|()| self.0.wait());
    }
}

/// Sends the PATCHes.
pub(crate) fn run(arguments: &arguments::BarePatches) -> Result<()> {
    Runtime::new()?.block_on(async {
        let client = kubeconfig::client(&arguments.kubeconfig).await?;
        let api: Api<Deployment> = Api::namespaced(client.clone(), &arguments.namespace);
        let deployments = api.list(&ListParams::default()).await?.items;
        let patches: Vec<Request<Vec<u8>>> = deployments
            .iter()
            .take(arguments.count)
            .map(|deployment| request(deployment, arguments))
            .collect::<Result<_>>()?;
        let patched =
            stream::iter(patches).map(|patch| send(&client, patch)).buffer_unordered(arguments.concurrency);
        patched.try_collect().await
    })
}

/// The PATCH that the server would send.
fn request(deployment: &Deployment, arguments: &arguments::BarePatches) -> Result<Request<Vec<u8>>> {
    let name = deployment.metadata.name.as_deref().context("a Deployment without a name")?;
    let seen = deployment.spec.as_ref().and_then(|spec| spec.replicas);
    let patch = json!([
        { "op": "test", "path": "/metadata/uid", "value": deployment.metadata.uid },
        { "op": "test", "path": "/spec/replicas", "value": seen },
        { "op": "add", "path": "/spec/replicas", "value": arguments.replicas },
    ]);
    let path = format!(
        "/apis/apps/v1/namespaces/{}/deployments/{name}/scale?fieldManager=bare-patches",
        arguments.namespace
    );
    let request = Request::patch(path).header(header::CONTENT_TYPE, "application/json-patch+json");
    Ok(request.body(patch.to_string().into_bytes())?)
}

async fn send(client: &Client, patch: Request<Vec<u8>>) -> Result<()> {
    // Reads the answer, so the connection can be reused.
    client.request_text(patch).await.context("cannot change a Deployment")?;
    Ok(())
}
