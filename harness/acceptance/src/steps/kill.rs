//! Two crashes: the pod is deleted by force, and the process gets a SIGKILL. Nothing that was stored is lost.

use std::env;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use tokio::time::Instant;

use super::{Step, passed};
use crate::eventually::eventually;
use crate::pods::{is_ready, restarts};
use crate::stage::{NAME, Stage};
use crate::table::Outcome;

pub(super) const STEP: Step = Step {
    name: "kill",
    about: "the pod is deleted by force, then the process is killed with SIGKILL",
    run: |stage| Box::pin(run(stage)),
};

async fn run(stage: &Stage) -> Result<Outcome> {
    stage.managed("web", 2).await?;
    let before = stage.session().await?.settings().await?;
    let pod = stage.pod().await?;
    let started = Instant::now();
    let (namespace, name) = (format!("--namespace={NAME}"), pod.name_any());
    stage
        .programs
        .run(["kubectl", "delete", "pod", &namespace, "--force", "--grace-period=0", &name])
        .await?;
    let pod = stage.pod_after(&pod).await?;
    let deleted = started.elapsed().as_secs_f64();
    ensure!(stage.session().await?.settings().await? == before, "the settings changed");

    // The client of containerd finds it by this variable, which only a node has.
    if env::var_os("CONTAINERD_ADDRESS").is_none() {
        return Ok(passed(format!(
            "deleted: back in {deleted:.1} s; SIGKILL not tried: no way into the node"
        )));
    }
    let started = Instant::now();
    kill(stage, &pod).await?;
    let killed = eventually("the container is started again", async || {
        let again = stage.pods().get(&pod.name_any()).await?;
        ensure!(restarts(&again) > restarts(&pod) && is_ready(&again), "not yet");
        Ok(started.elapsed().as_secs_f64())
    })
    .await?;
    ensure!(stage.session().await?.settings().await? == before, "the settings changed");
    Ok(passed(format!(
        "{} settings kept; back {deleted:.1} s after the deletion, {killed:.1} s after SIGKILL",
        before.len()
    )))
}

async fn kill(stage: &Stage, pod: &Pod) -> Result<()> {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref());
    let id = statuses.and_then(<[_]>::first).and_then(|container| container.container_id.as_deref());
    let id = id.and_then(|id| id.strip_prefix("containerd://")).context("the container has no id")?;
    let kill = ["ctr", "--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL", id];
    stage.programs.run(kill).await.map(drop)
}
