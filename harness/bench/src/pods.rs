//! Counts the pods that drift costs in each mode of the guard, with the real controllers: a repair comes after they have
//! begun to delete pods.
//!
//! There are no nodes, so the pods exist but do not run, and this says that they are ready. What is counted is how many of
//! the first ones are gone, and what the server says of that.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Pod;
use kube::api::{Api, ListParams, Patch, PatchParams};
use replica_count_api::proto::SetDeploymentRequest;
use replica_count_testbed::control_plane::Options;
use replica_count_testbed::{ControlPlane, Manager};
use serde::Serialize;
use serde_json::json;
use tokio::time::{self, Instant};

use crate::progress::Progress;
use crate::results::Outcome;
use crate::server;
use crate::table::{Goal, Row, Unit};

/// The pods of each Deployment.
const PODS: i32 = 5;
/// How long everything may take to be as desired.
const DEADLINE: Duration = Duration::from_mins(3);
const POLL: Duration = Duration::from_millis(500);
/// How long the controllers have to delete pods after the last drift.
const SETTLE: Duration = Duration::from_secs(2);

/// The amount of measurements.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    deployments: usize,
}

impl Plan {
    pub(crate) const FULL: Self = Self { deployments: 30 };
    pub(crate) const SHORT: Self = Self { deployments: 2 };
}

/// A mode of the guard, and whether the server is killed before the drift.
#[derive(Clone, Copy, Debug)]
struct Case {
    what: &'static str,
    mode: &'static str,
    is_killed: bool,
    /// Whether no pod may be lost.
    is_safe: bool,
}

const CASES: [Case; 6] = [
    Case { what: "off", mode: "off", is_killed: false, is_safe: false },
    Case { what: "warn", mode: "warn", is_killed: false, is_safe: false },
    Case { what: "deny", mode: "deny", is_killed: false, is_safe: true },
    Case { what: "correct", mode: "correct", is_killed: false, is_safe: true },
    Case { what: "deny, server killed", mode: "deny", is_killed: true, is_safe: true },
    Case { what: "correct, server killed", mode: "correct", is_killed: true, is_safe: true },
];

/// The pods that were lost of those that there were.
#[derive(Clone, Copy, Debug, Serialize)]
struct Lost {
    to: i32,
    pods: usize,
    of: usize,
    /// As the server has counted them. `None`: it was killed.
    counted: Option<u64>,
}

/// Measures.
pub(crate) async fn measure(plan: &Plan) -> Result<Outcome> {
    let control_plane = ControlPlane::start(Options::beside_this_program()?.with_controllers()).await?;
    let (mut rows, mut details) = (Vec::new(), Vec::new());
    let mut progress = Progress::new("modes of the guard", CASES.len());
    for case in CASES {
        let lost = run(&control_plane, plan, case).await.with_context(|| case.what.to_owned())?;
        progress.advance();
        for Lost { to, pods, of, counted } in &lost {
            let what = format!("pods: {}, {PODS} to {to}: lost of {of}", case.what);
            #[allow(clippy::cast_precision_loss, reason = "a small count")]
            let row = Row::new(what, Unit::Times, *pods as f64);
            rows.push(if case.is_safe { row.judged_by(Goal::Below(1.0)) } else { row });
            if let Some(counted) = counted {
                let what = format!("pods: {}, {PODS} to {to}: lost according to the server", case.what);
                #[allow(clippy::cast_precision_loss, reason = "a small count")]
                rows.push(Row::new(what, Unit::Times, *counted as f64));
            }
        }
        details.push(json!({ "case": case.what, "lost": lost }));
    }
    progress.finish();
    let kubernetes = control_plane.admin().await?.apiserver_version().await?.git_version;
    Ok(Outcome { name: "pods", rows, kubernetes, details: json!(details) })
}

async fn run(control_plane: &ControlPlane, plan: &Plan, case: Case) -> Result<Vec<Lost>> {
    let namespace = control_plane.namespace("pods").await?;
    let corrects = control_plane.install_guard(&namespace).await?;
    ensure!(corrects || case.mode != "correct", "this API server cannot correct counts");
    let mut manager = Manager::start(&server::guarding(control_plane, case.mode, &namespace).await?).await?;
    manager.wait_ready().await?;
    let fleet = Fleet::create(control_plane, namespace, plan.deployments).await?;
    fleet.manage(&manager).await?;
    if case.mode != "off" {
        server::wait_until_guarded(&manager, fleet.size).await?;
    }
    let manager = if case.is_killed {
        manager.kill()?;
        None
    } else {
        Some(manager)
    };
    let (mut lost, mut counted_before) = (Vec::new(), 0);
    for to in [0, 2] {
        let before = fleet.wait_for_pods().await?;
        fleet.drift(to).await?;
        time::sleep(SETTLE).await;
        let after = fleet.wait_for_pods().await?;
        let mut counted = None;
        if let Some(manager) = &manager {
            let total = pods_lost(manager).await?;
            counted = Some(total - std::mem::replace(&mut counted_before, total));
        }
        lost.push(Lost { to, pods: before.difference(&after).count(), of: before.len(), counted });
    }
    Ok(lost)
}

/// The Deployments of one case.
struct Fleet {
    namespace: String,
    size: usize,
    deployments: Api<Deployment>,
    pods: Api<Pod>,
}

impl Fleet {
    async fn create(control_plane: &ControlPlane, namespace: String, size: usize) -> Result<Self> {
        let client = control_plane.client_as("somebody").await?;
        let deployments = Api::namespaced(client.clone(), &namespace);
        let pods = Api::namespaced(client, &namespace);
        let fleet = Self { namespace, size, deployments, pods };
        for n in 0..size {
            control_plane.deployment(&fleet.namespace, &name(n), PODS).await?;
        }
        Ok(fleet)
    }

    async fn manage(&self, manager: &Manager) -> Result<()> {
        let mut client = manager.client().await?;
        for n in 0..self.size {
            let request = SetDeploymentRequest {
                name: name(n),
                namespace: self.namespace.clone(),
                replicas: Some(PODS),
                ..SetDeploymentRequest::default()
            };
            client.set_deployment(request).await.context("SetDeployment failed")?;
        }
        Ok(())
    }

    /// Waits until each Deployment has all its pods, and shows them as ready; returns their uids.
    async fn wait_for_pods(&self) -> Result<BTreeSet<String>> {
        let expected = self.size * usize::try_from(PODS)?;
        let deadline = Instant::now() + DEADLINE;
        loop {
            let pods = self.pods.list(&ListParams::default()).await?.items;
            let alive: Vec<Pod> =
                pods.into_iter().filter(|pod| pod.metadata.deletion_timestamp.is_none()).collect();
            self.make_ready(&alive).await?;
            let uids: BTreeSet<String> = alive.into_iter().filter_map(|pod| pod.metadata.uid).collect();
            if uids.len() == expected && self.is_ready().await? {
                return Ok(uids);
            }
            if Instant::now() > deadline {
                bail!("{} pods instead of {expected} after {DEADLINE:?}", uids.len());
            }
            time::sleep(POLL).await;
        }
    }

    /// Says of all pods that they are ready, as a node would.
    async fn make_ready(&self, pods: &[Pod]) -> Result<()> {
        let ready = json!({ "status": { "conditions": [{ "type": "Ready", "status": "True" }] } });
        for pod in pods.iter().filter(|pod| !is_ready(pod)) {
            let name = pod.metadata.name.as_deref().unwrap_or_default();
            match self.pods.patch_status(name, &PatchParams::default(), &Patch::Strategic(&ready)).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.code == 404 => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }

    /// Whether each Deployment shows all its pods as ready.
    async fn is_ready(&self) -> Result<bool> {
        let deployments = self.deployments.list(&ListParams::default()).await?.items;
        let ready =
            |deployment: &Deployment| deployment.status.as_ref().and_then(|status| status.ready_replicas);
        Ok(deployments.iter().all(|deployment| ready(deployment) == Some(PODS)))
    }

    /// Somebody scales all of them. The API server may refuse.
    async fn drift(&self, to: i32) -> Result<()> {
        let patch = Patch::Merge(json!({ "spec": { "replicas": to } }));
        for n in 0..self.size {
            match self.deployments.patch_scale(&name(n), &PatchParams::default(), &patch).await {
                Ok(_) => {}
                Err(kube::Error::Api(status)) if status.message.contains("is kept at") => {}
                Err(error) => return Err(error.into()),
            }
        }
        Ok(())
    }
}

fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_ref());
    conditions.is_some_and(|conditions| conditions.iter().any(|condition| condition.type_ == "Ready"))
}

/// How many pods drifts have cost, according to the server.
async fn pods_lost(manager: &Manager) -> Result<u64> {
    let metrics = manager.metrics().await?;
    let value = metrics.lines().find_map(|line| line.strip_prefix("replica_count_manager_pods_lost_total "));
    value.context("the server does not count lost pods")?.parse().context("not a number")
}

fn name(n: usize) -> String {
    format!("web-{n}")
}
