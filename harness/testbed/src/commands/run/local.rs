//! Runs the server on a new control plane, with a sample Deployment.

use std::env;
use std::path::{Path, PathBuf};

use anyhow::Result;
use replica_count_api::proto;
use replica_count_testbed::control_plane::Scope;
use replica_count_testbed::{ControlPlane, Manager, Options};
use tokio::time::Instant;

use super::grpcurl_line;
use crate::output::say;

/// The namespace of the example in the README.
const NAMESPACE: &str = "my-app-namespace";
const NAME: &str = "my-app";
const REPLICAS: i32 = 3;

pub(super) async fn run(testbed: PathBuf) -> Result<()> {
    let started = Instant::now();
    say("Starting a local Kubernetes control plane.");
    let mut control_plane = ControlPlane::start(Options::new(testbed.clone()).with_controllers()).await?;
    say(&format!("{} is ready after {:.1} s.", control_plane.url(), started.elapsed().as_secs_f64()));
    control_plane.create_namespace(NAMESPACE).await?;
    control_plane.deployment(NAMESPACE, NAME, 1).await?;

    let kubeconfig = control_plane.manager_kubeconfig(&Scope::Cluster).await?;
    // The cluster is new, so counts of an earlier one would only confuse.
    super::forget("local")?;
    let mut manager = Manager::start(&super::options(testbed, &kubeconfig, "local")?).await?;
    manager.wait_ready().await?;
    manage_sample(&manager).await?;
    say(&instructions(&control_plane)?);
    tokio::select! {
        result = super::watch_over(&mut manager) => result,
        result = watch_over(&mut control_plane) => result,
    }
}

async fn watch_over(control_plane: &mut ControlPlane) -> Result<()> {
    loop {
        control_plane.check_alive()?;
        tokio::time::sleep(super::CHECK).await;
    }
}

/// Sets the count of the sample like any client: through gRPC, over mutual TLS.
async fn manage_sample(manager: &Manager) -> Result<()> {
    let request = proto::SetDeploymentRequest {
        name: NAME.to_owned(),
        namespace: NAMESPACE.to_owned(),
        replicas: Some(REPLICAS),
        reason: "the sample of make run".to_owned(),
        ..proto::SetDeploymentRequest::default()
    };
    manager.client().await?.set_deployment(request).await?;
    Ok(())
}

fn instructions(control_plane: &ControlPlane) -> Result<String> {
    let path = path_line(&[control_plane.kubectl()?, control_plane.grpcurl()?]);
    let kubeconfig = control_plane.admin_kubeconfig().display();
    let list = grpcurl_line(NAMESPACE);
    Ok(format!(
        "
Deployment {NAME} in {NAMESPACE} is managed and has {REPLICAS} replicas. In another terminal, at the root of the project:

{path}export KUBECONFIG={kubeconfig}

# List what is managed:
{list}

# Change it behind the server's back, and see the server restore it:
kubectl scale deployment {NAME} --namespace {NAMESPACE} --replicas 7
kubectl get deployment {NAME} --namespace {NAMESPACE}

Ctrl-C stops everything. The log of the server follows.
"
    ))
}

/// A line that adds the folders of those programs to PATH that are not on it yet.
fn path_line(programs: &[PathBuf]) -> String {
    let mut folders: Vec<String> = programs
        .iter()
        .filter(|program| !program.file_name().is_some_and(|name| is_on_path(Path::new(name))))
        .filter_map(|program| Some(program.parent()?.display().to_string()))
        .collect();
    folders.dedup();
    if folders.is_empty() { String::new() } else { format!("export PATH={}:$PATH\n", folders.join(":")) }
}

fn is_on_path(name: &Path) -> bool {
    env::var_os("PATH").is_some_and(|path| env::split_paths(&path).any(|folder| folder.join(name).is_file()))
}
