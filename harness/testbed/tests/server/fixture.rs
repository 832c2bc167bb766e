//! The fixture of most tests: a namespace, a server, and someone who causes drift.

use std::ffi::OsStr;
use std::fmt::Debug;
use std::path::{Path, PathBuf};
use std::process::{Command, Output};
use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use replica_count_api::proto;
use replica_count_testbed::control_plane::Scope;
use replica_count_testbed::manager::{self, Client};
use replica_count_testbed::{ControlPlane, Manager, Options};
use serde_json::json;
use tokio::sync::OnceCell;
use tokio::time::{self, Instant};

/// How long a condition may take before its test fails. Most take milliseconds.
const DEADLINE: Duration = Duration::from_secs(30);

/// A field manager that no program uses.
pub(crate) const SOMEBODY: &str = "somebody";

/// A control plane shared by all tests that do not disturb it. It ends with this process.
pub(crate) async fn shared() -> &'static ControlPlane {
    static SHARED: OnceCell<ControlPlane> = OnceCell::const_new();
    SHARED.get_or_init(own).await
}

/// A control plane that a test may disturb.
pub(crate) async fn own() -> ControlPlane {
    own_with(Options::new(testbed())).await
}

/// A control plane with special options.
pub(crate) async fn own_with(options: Options) -> ControlPlane {
    ControlPlane::start(options).await.unwrap()
}

pub(crate) fn testbed() -> PathBuf {
    PathBuf::from(env!("CARGO_BIN_EXE_testbed"))
}

/// A namespace, a server and a client.
pub(crate) struct Fixture<'a> {
    pub(crate) control_plane: &'a ControlPlane,
    pub(crate) namespace: String,
    pub(crate) options: manager::Options,
    pub(crate) manager: Manager,
    pub(crate) client: Client,
    pub(crate) deployments: Api<Deployment>,
}

impl<'a> Fixture<'a> {
    /// On the shared control plane, without extra flags.
    pub(crate) async fn new() -> Fixture<'static> {
        Fixture::with(shared().await, &[]).await
    }

    /// On a given control plane, with extra flags.
    pub(crate) async fn with(control_plane: &'a ControlPlane, arguments: &[&str]) -> Self {
        let options = options(control_plane, &Scope::Cluster, arguments).await;
        Fixture::with_options(control_plane, options).await
    }

    /// On a given control plane, with given server options.
    pub(crate) async fn with_options(control_plane: &'a ControlPlane, options: manager::Options) -> Self {
        let namespace = control_plane.namespace("test").await.unwrap();
        Fixture::start(control_plane, namespace, options).await
    }

    /// On the shared control plane, with rights only in its own namespace.
    pub(crate) async fn limited() -> Fixture<'static> {
        let control_plane = shared().await;
        let namespace = control_plane.namespace("limited").await.unwrap();
        let scope = Scope::Namespace(namespace.clone());
        let options = options(control_plane, &scope, &["--namespace", &namespace]).await;
        Fixture::start(control_plane, namespace, options).await
    }

    /// On a given control plane, in a given namespace, with given server options.
    pub(crate) async fn start(
        control_plane: &'a ControlPlane,
        namespace: String,
        options: manager::Options,
    ) -> Self {
        let mut manager = Manager::start(&options).await.unwrap();
        manager.wait_ready().await.unwrap();
        let client = manager.client().await.unwrap();
        let deployments = Api::namespaced(control_plane.admin().await.unwrap(), &namespace);
        Self { control_plane, namespace, options, manager, client, deployments }
    }

    /// Creates a Deployment.
    pub(crate) async fn create(&self, name: &str, replicas: i32) {
        self.control_plane.deployment(&self.namespace, name, replicas).await.unwrap();
    }

    /// Creates a Deployment and sets the same count, so it is managed.
    pub(crate) async fn create_managed(&mut self, name: &str, replicas: i32) {
        self.create(name, replicas).await;
        self.set(name, replicas).await;
        self.wait_for_state(name, proto::DeploymentState::InSync).await;
    }

    pub(crate) fn set_request(&self, name: &str, replicas: i32) -> proto::SetDeploymentRequest {
        proto::SetDeploymentRequest {
            name: name.to_owned(),
            namespace: self.namespace.clone(),
            replicas: Some(replicas),
            ..proto::SetDeploymentRequest::default()
        }
    }

    pub(crate) async fn set(&mut self, name: &str, replicas: i32) -> proto::SetDeploymentResponse {
        let request = self.set_request(name, replicas);
        self.client.set_deployment(request).await.unwrap().into_inner()
    }

    pub(crate) async fn get(&mut self, name: &str) -> Result<proto::GetDeploymentResponse, tonic::Status> {
        let request = proto::GetDeploymentRequest {
            name: name.to_owned(),
            namespace: self.namespace.clone(),
            ..proto::GetDeploymentRequest::default()
        };
        Ok(self.client.get_deployment(request).await?.into_inner())
    }

    /// The rows of the managed Deployments of the namespace.
    pub(crate) async fn managed_rows(&self) -> Vec<proto::DeploymentsReplicaConfig> {
        let request = proto::ListDeploymentsRequest {
            namespace: self.namespace.clone(),
            ..proto::ListDeploymentsRequest::default()
        };
        let answer = self.client.clone().list_deployments(request).await.unwrap();
        answer.into_inner().deployments_replica_config
    }

    pub(crate) async fn delete_setting(&mut self, name: &str) {
        let request = proto::DeleteDeploymentRequest {
            name: name.to_owned(),
            namespace: self.namespace.clone(),
            expected_generation: None,
            ..proto::DeleteDeploymentRequest::default()
        };
        self.client.delete_deployment(request).await.unwrap();
    }

    pub(crate) async fn ignore(&mut self, name: &str, until: Option<jiff::Timestamp>) {
        let request = proto::SetEnforcementRequest {
            name: name.to_owned(),
            namespace: self.namespace.clone(),
            mode: proto::EnforcementMode::Ignore.into(),
            until: until.map(replica_count_api::response::timestamp),
            expected_generation: None,
            ..proto::SetEnforcementRequest::default()
        };
        self.client.set_enforcement(request).await.unwrap();
    }

    /// Changes the count through the scale subresource, as `somebody`.
    pub(crate) async fn scale(&self, name: &str, replicas: i32) {
        let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
        let parameters = PatchParams { field_manager: Some(SOMEBODY.to_owned()), ..PatchParams::default() };
        self.deployments.patch_scale(name, &parameters, &patch).await.unwrap();
    }

    /// Waits until the API server refuses another count, which is how a webhook that denies shows that it is called.
    pub(crate) async fn wait_until_refused(&self, name: &str) {
        eventually("another count is refused", async || {
            let patch = Patch::Merge(json!({ "spec": { "replicas": 9 } }));
            let parameters = PatchParams { dry_run: true, ..PatchParams::default() };
            self.deployments.patch_scale(name, &parameters, &patch).await.err().ok_or("allowed")
        })
        .await;
    }

    /// Creates a HorizontalPodAutoscaler for a Deployment.
    pub(crate) async fn autoscale(&self, autoscaler: &str, deployment: &str, min_replicas: i32) {
        let autoscaler = serde_json::from_value(json!({
            "metadata": { "name": autoscaler },
            "spec": {
                "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "Deployment", "name": deployment },
                "minReplicas": min_replicas,
                "maxReplicas": 9,
            },
        }));
        self.autoscalers().await.create(&PostParams::default(), &autoscaler.unwrap()).await.unwrap();
    }

    pub(crate) async fn autoscalers(&self) -> Api<HorizontalPodAutoscaler> {
        Api::namespaced(self.control_plane.admin().await.unwrap(), &self.namespace)
    }

    pub(crate) async fn delete_deployment(&self, name: &str) {
        self.deployments.delete(name, &DeleteParams::default()).await.unwrap();
        eventually("the Deployment is gone", async || {
            self.deployments.get_opt(name).await.unwrap().is_none().then_some(()).ok_or("it is there")
        })
        .await;
    }

    /// The current count, according to the API server.
    pub(crate) async fn count(&self, name: &str) -> Option<i32> {
        self.deployments.get(name).await.unwrap().spec.unwrap().replicas
    }

    pub(crate) async fn wait_for_count(&self, name: &str, replicas: i32) {
        eventually(&format!("{name} has {replicas} replicas"), async || {
            let count = self.count(name).await;
            if count == Some(replicas) { Ok(()) } else { Err(count) }
        })
        .await;
    }

    pub(crate) async fn wait_for_state(&self, name: &str, state: proto::DeploymentState) {
        self.wait_for(name, |answer| answer.state() == state).await;
    }

    /// Polls Get until the answer satisfies `is_right`, and returns it.
    pub(crate) async fn wait_for(
        &self,
        name: &str,
        is_right: impl Fn(&proto::GetDeploymentResponse) -> bool,
    ) -> proto::GetDeploymentResponse {
        let request = proto::GetDeploymentRequest {
            name: name.to_owned(),
            namespace: self.namespace.clone(),
            ..proto::GetDeploymentRequest::default()
        };
        eventually(&format!("Get shows {name} as expected"), async || {
            match self.client.clone().get_deployment(request.clone()).await.map(tonic::Response::into_inner) {
                Ok(answer) if is_right(&answer) => Ok(answer),
                other => Err(other),
            }
        })
        .await
    }

    /// Runs kubectl in the namespace.
    pub(crate) fn kubectl<S: AsRef<OsStr>>(&self, arguments: impl IntoIterator<Item = S>) -> Output {
        Command::new(self.control_plane.kubectl().unwrap())
            .arg("--kubeconfig")
            .arg(self.control_plane.admin_kubeconfig())
            .args(["--namespace", &self.namespace])
            .args(arguments)
            .output()
            .unwrap()
    }

    /// Scales with kubectl, as somebody would.
    pub(crate) fn kubectl_scale(&self, name: &str, count: i32) {
        let output = self.kubectl(["scale", "deployment", name, &format!("--replicas={count}")]);
        assert!(output.status.success(), "{output:?}");
    }

    /// Kills the server, runs `meanwhile`, and restarts the server.
    pub(crate) async fn restart(self, meanwhile: impl AsyncFnOnce(&Api<Deployment>)) -> Fixture<'a> {
        let deployments = self.deployments.clone();
        self.restart_after(async |manager| {
            manager.kill().unwrap();
            meanwhile(&deployments).await;
        })
        .await
    }

    /// Ends the server with `end`, and restarts it.
    pub(crate) async fn restart_after(self, end: impl AsyncFnOnce(Manager)) -> Fixture<'a> {
        let Self { control_plane, namespace, options, manager, .. } = self;
        end(manager).await;
        Fixture::start(control_plane, namespace, options).await
    }
}

/// The options of a server with the rights of `scope`.
pub(crate) async fn options(
    control_plane: &ControlPlane,
    scope: &Scope,
    arguments: &[&str],
) -> manager::Options {
    let kubeconfig = control_plane.manager_kubeconfig(scope).await.unwrap();
    let folder = control_plane.folder("manager").unwrap();
    let options = manager::Options::new(testbed(), &kubeconfig, Path::new(&folder)).unwrap();
    arguments.iter().fold(options, manager::Options::argument)
}

/// Waits until the metrics contain a line.
pub(crate) async fn wait_for_metric(manager: &Manager, line: &str) {
    let line = format!("replica_count_manager_{line}");
    eventually(&line, async || {
        let metrics = manager.metrics().await.unwrap();
        if metrics.lines().any(|shown| shown == line) { Ok(()) } else { Err(metrics) }
    })
    .await;
}

/// Polls a condition, and returns its result.
pub(crate) async fn eventually<T, E: Debug>(
    what: &str,
    mut condition: impl AsyncFnMut() -> Result<T, E>,
) -> T {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match condition().await {
            Ok(value) => return value,
            Err(last) => {
                assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}; last: {last:?}");
            }
        }
        time::sleep(Duration::from_millis(10)).await;
    }
}
