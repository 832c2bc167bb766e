//! Everything the demo runs: the control plane, the server and its client, and others who change counts.

use std::collections::BTreeSet;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::{ListParams, Patch, PatchParams};
use replica_count_api::proto;
use replica_count_testbed::control_plane::Scope;
use replica_count_testbed::observer::Observer;
use replica_count_testbed::{ControlPlane, Manager, Options, manager};
use serde_json::json;
use tokio::task;
use tokio::time::{self, Instant};

use crate::output::say;

const NAMESPACE: &str = "my-app-namespace";
const NAME: &str = "my-app";

/// The name of the guard.
const GUARD: &str = "demo";

const DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(10);

/// An acknowledged SetDeployment.
#[derive(Debug)]
pub(super) struct Set {
    pub(super) sent: Instant,
    pub(super) answered: Instant,
    pub(super) replicas_before: i32,
}

/// The running demo.
#[derive(Debug)]
pub(super) struct Stage {
    pub(super) observer: Observer,
    deployments: Api<Deployment>,
    pods: Api<Pod>,
    kubectl: PathBuf,
    /// `None` while it is stopped.
    manager: Option<Manager>,
    options: manager::Options,
    control_plane: ControlPlane,
}

impl Stage {
    /// Starts a control plane, and the server with only the rights it needs.
    pub(super) async fn start(testbed: PathBuf) -> Result<Self> {
        say("Starting a local Kubernetes control plane, and Replica Count Manager beside it.");
        let started = Instant::now();
        let control_plane = ControlPlane::start(Options::new(testbed.clone()).with_controllers()).await?;
        control_plane.create_namespace(NAMESPACE).await?;
        control_plane.deployment(NAMESPACE, NAME, 2).await?;
        let kubectl = task::block_in_place(|| control_plane.kubectl())?;
        let deployer = control_plane.client_as("deployer").await?;
        let deployments = Api::namespaced(deployer.clone(), NAMESPACE);
        let pods = Api::namespaced(deployer, NAMESPACE);
        let observer = Observer::start(deployments.clone(), NAME).await?;
        let kubeconfig = control_plane.manager_kubeconfig(&Scope::Cluster).await?;
        let options = manager::Options::new(testbed, &kubeconfig, &control_plane.folder("demo")?)?;
        let mut this = Self { observer, deployments, pods, kubectl, manager: None, options, control_plane };
        this.start_manager().await?;
        say(&format!(
            "Ready after {:.1} s: Deployment {NAME} in {NAMESPACE} has 2 replicas and is not managed.",
            started.elapsed().as_secs_f64()
        ));
        Ok(this)
    }

    pub(super) async fn set_replicas(&self, replicas: i32) -> Result<Set> {
        let mut client = self.manager()?.client().await?;
        let request = proto::SetDeploymentRequest {
            name: NAME.to_owned(),
            namespace: NAMESPACE.to_owned(),
            replicas: Some(replicas),
            reason: "the demo".to_owned(),
            ..proto::SetDeploymentRequest::default()
        };
        let sent = Instant::now();
        let response = client.set_deployment(request).await?.into_inner();
        let answered = Instant::now();
        ensure!(response.new_replicas == Some(replicas), "SetDeployment answered {response:?}");
        let replicas_before = response.old_replicas.context("SetDeployment returned no previous count")?;
        Ok(Set { sent, answered, replicas_before })
    }

    pub(super) async fn delete_setting(&self) -> Result<()> {
        let request = proto::DeleteDeploymentRequest {
            name: NAME.to_owned(),
            namespace: NAMESPACE.to_owned(),
            expected_generation: None,
            ..proto::DeleteDeploymentRequest::default()
        };
        self.manager()?.client().await?.delete_deployment(request).await?;
        Ok(())
    }

    /// Installs the guard and restarts the server with it. Returns the mode: `correct` where this API server can.
    pub(super) async fn guard(&mut self) -> Result<&'static str> {
        let can_correct = self.control_plane.install_guard(GUARD).await?;
        let mode = if can_correct { "correct" } else { "deny" };
        self.stop_manager().await?;
        let options = ["--guard", mode, "--guard-name", GUARD];
        self.options = options.into_iter().fold(self.options.clone(), manager::Options::argument);
        self.start_manager().await?;
        self.await_get(|got| got.guarded).await?;
        Ok(mode)
    }

    /// Waits until there are this many pods, and returns their uids. There are no nodes, so they exist without running.
    pub(super) async fn pods(&self, count: usize) -> Result<BTreeSet<String>> {
        let deadline = Instant::now() + DEADLINE;
        loop {
            let pods = self.pods.list(&ListParams::default()).await?.items;
            let alive = pods.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none());
            let uids: BTreeSet<_> = alive.filter_map(|pod| pod.metadata.uid).collect();
            if uids.len() == count {
                return Ok(uids);
            }
            ensure!(Instant::now() < deadline, "there are {} pods instead of {count}", uids.len());
            time::sleep(POLL).await;
        }
    }

    /// Scales with the real kubectl, as someone unaware of the server would.
    pub(super) async fn kubectl_scale(&self, replicas: i32) -> Result<()> {
        let (is_done, text) = self.try_kubectl_scale(replicas).await?;
        ensure!(is_done, "kubectl failed: {text}");
        Ok(())
    }

    /// The same, even if it is refused. Returns whether it was done, and what kubectl said on standard error.
    pub(super) async fn try_kubectl_scale(&self, replicas: i32) -> Result<(bool, String)> {
        let mut command = Command::new(&self.kubectl);
        command
            .arg("--kubeconfig")
            .arg(self.control_plane.admin_kubeconfig())
            .args(["--namespace", NAMESPACE]);
        command.args(["scale", "deployment", NAME, "--replicas", &replicas.to_string()]);
        let output = task::spawn_blocking(move || command.output()).await?.context("cannot run kubectl")?;
        let text = String::from_utf8_lossy(&output.stderr).trim().to_owned();
        Ok((output.status.success(), text))
    }

    /// Patches the count as an upgrade by Helm 3 does.
    pub(super) async fn helm_upgrade(&self, replicas: i32) -> Result<()> {
        let parameters = PatchParams { field_manager: Some("helm".to_owned()), ..PatchParams::default() };
        let manifest = json!({ "spec": { "replicas": replicas } });
        self.deployments.patch(NAME, &parameters, &Patch::Strategic(manifest)).await?;
        Ok(())
    }

    /// Applies the count server-side without force, which must be refused; returns the error message.
    pub(super) async fn server_side_apply(&self, replicas: i32) -> Result<String> {
        let manifest = json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": { "name": NAME },
            "spec": { "replicas": replicas },
        });
        match self.deployments.patch(NAME, &PatchParams::apply("helm"), &Patch::Apply(manifest)).await {
            Err(kube::Error::Api(status)) if status.code == 409 => Ok(status.message.clone()),
            Err(error) => Err(error.into()),
            Ok(_) => bail!("the apply was not refused"),
        }
    }

    /// Waits until Get reports a drift to `replicas` by `name`, and describes who caused it.
    pub(super) async fn drifted_by(&self, name: &str, replicas: i32) -> Result<String> {
        let expected = |got: &proto::GetDeploymentResponse| {
            got.last_drift.as_ref().is_some_and(|drift| drift.by == name && drift.to == Some(replicas))
        };
        let got = self.await_get(expected).await?;
        let drift = got.last_drift.unwrap_or_default();
        let through =
            if drift.subresource.is_empty() { String::new() } else { format!(" of {}", drift.subresource) };
        Ok(format!("{} ({}{through})", drift.by, drift.operation))
    }

    /// Waits until Get reports this count without a setting.
    pub(super) async fn await_unmanaged(&self, replicas: i32) -> Result<()> {
        self.await_get(|got| got.desired_replicas.is_none() && got.current_replicas == Some(replicas))
            .await
            .map(drop)
    }

    async fn await_get(
        &self,
        expected: impl Fn(&proto::GetDeploymentResponse) -> bool,
    ) -> Result<proto::GetDeploymentResponse> {
        let mut client = self.manager()?.client().await?;
        let request = proto::GetDeploymentRequest {
            name: NAME.to_owned(),
            namespace: NAMESPACE.to_owned(),
            ..proto::GetDeploymentRequest::default()
        };
        let deadline = Instant::now() + DEADLINE;
        loop {
            let got = client.get_deployment(request.clone()).await?.into_inner();
            if expected(&got) {
                return Ok(got);
            }
            ensure!(Instant::now() < deadline, "GetDeployment still answers {got:?}");
            time::sleep(POLL).await;
        }
    }

    /// Starts the server, and returns the time of its start.
    pub(super) async fn start_manager(&mut self) -> Result<Instant> {
        let started = Instant::now();
        let mut manager = Manager::start(&self.options).await?;
        manager.wait_ready().await?;
        self.manager = Some(manager);
        Ok(started)
    }

    pub(super) async fn stop_manager(&mut self) -> Result<()> {
        let manager = self.manager.take().context("the server is not running")?;
        let status = manager.terminate().await?;
        ensure!(status.success(), "the server ended with {status}");
        Ok(())
    }

    fn manager(&self) -> Result<&Manager> {
        self.manager.as_ref().context("the server is not running")
    }
}
