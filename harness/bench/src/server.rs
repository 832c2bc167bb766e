//! The server under test: the release binary, with mutual TLS and the rights that the chart grants.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use replica_count_api::proto::SetDeploymentRequest;
use replica_count_testbed::control_plane::Scope;
use replica_count_testbed::{ControlPlane, Manager, manager};
use tokio::time;

use crate::fleet::Fleet;

/// The number of concurrent Sets.
const CONCURRENCY: usize = 16;

/// How long it may take until all counts are guarded.
const GUARDED_DEADLINE: Duration = Duration::from_mins(3);
const GUARDED_POLL: Duration = Duration::from_millis(20);

/// How the server is started, with the rights that it needs in a scope.
pub(crate) async fn options(control_plane: &ControlPlane, scope: &Scope) -> Result<manager::Options> {
    let kubeconfig = control_plane.manager_kubeconfig(scope).await?;
    let options = manager::Options::beside_this_program(&kubeconfig, &control_plane.folder("manager")?)?;
    Ok(match scope {
        Scope::Cluster => options,
        Scope::Namespace(namespace) => options.argument("--namespace").argument(namespace),
    })
}

/// The same with a guard of this name, whose policies are installed.
pub(crate) async fn guarding(
    control_plane: &ControlPlane,
    mode: &str,
    name: &str,
) -> Result<manager::Options> {
    let options = options(control_plane, &Scope::Cluster).await?;
    Ok(["--guard", mode, "--guard-name", name].iter().fold(options, manager::Options::argument))
}

/// Waits until it is proven that the API server keeps so many counts.
pub(crate) async fn wait_until_guarded(manager: &Manager, targets: usize) -> Result<()> {
    let expected = format!("replica_count_manager_guarded_targets {targets}.0\n");
    let deadline = Instant::now() + GUARDED_DEADLINE;
    while !manager.metrics().await?.contains(&expected) {
        ensure!(Instant::now() < deadline, "the guard was not in force within {GUARDED_DEADLINE:?}");
        time::sleep(GUARDED_POLL).await;
    }
    Ok(())
}

/// Starts the server and waits until it has read the cluster.
pub(crate) async fn start(control_plane: &ControlPlane) -> Result<Manager> {
    let mut manager = Manager::start(&options(control_plane, &Scope::Cluster).await?).await?;
    manager.wait_ready().await?;
    Ok(manager)
}

/// Makes the server manage the first `count` Deployments of a fleet, with their current count.
pub(crate) async fn manage(manager: &Manager, fleet: &Fleet, count: usize) -> Result<()> {
    let client = manager.client().await?;
    let set = |number| {
        let mut client = client.clone();
        let request = SetDeploymentRequest {
            name: fleet.name(number),
            namespace: fleet.namespace.to_owned(),
            replicas: Some(fleet.replicas),
            ..SetDeploymentRequest::default()
        };
        async move { client.set_deployment(request).await.map(drop) }
    };
    let sets = stream::iter(0..count).map(set).buffer_unordered(CONCURRENCY);
    sets.try_collect::<()>().await.context("SetDeployment failed")
}
