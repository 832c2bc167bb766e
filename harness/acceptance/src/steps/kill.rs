//! Two crashes: the pod is force-deleted, then the process killed. No settings are lost.

use std::env;

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::ResourceExt as _;
use tokio::time::Instant;

use super::{Step, passed};
use crate::eventually::eventually;
use crate::fixture::{Fixture, NAME};
use crate::pods::{is_ready, restarts};
use crate::table::Outcome;

pub(super) const STEP: Step = Step {
    name: "kill",
    about: "the pod is force-deleted, then the process is killed with SIGKILL",
    run: |fixture| Box::pin(run(fixture)),
};

async fn run(fixture: &Fixture) -> Result<Outcome> {
    fixture.managed("web", 2).await?;
    let before = fixture.session().await?.settings().await?;
    let pod = fixture.pod().await?;
    let started = Instant::now();
    let (namespace, name) = (format!("--namespace={NAME}"), pod.name_any());
    fixture
        .programs
        .run(["kubectl", "delete", "pod", &namespace, "--force", "--grace-period=0", &name])
        .await?;
    let pod = fixture.pod_after(&pod).await?;
    let deleted = started.elapsed().as_secs_f64();
    ensure!(fixture.session().await?.settings().await? == before, "the settings changed");

    // containerd's client needs this variable, which only the testbed's node sets.
    if env::var_os("CONTAINERD_ADDRESS").is_none() {
        return Ok(passed(format!(
            "deleted: back in {deleted:.1} s; SIGKILL not tested: no access to the node"
        )));
    }
    let started = Instant::now();
    kill(fixture, &pod).await?;
    let killed = eventually("the container is restarted", async || {
        let again = fixture.pods().get(&pod.name_any()).await?;
        ensure!(restarts(&again) > restarts(&pod) && is_ready(&again), "not yet");
        Ok(started.elapsed().as_secs_f64())
    })
    .await?;
    ensure!(fixture.session().await?.settings().await? == before, "the settings changed");
    Ok(passed(format!(
        "{} settings kept; back {deleted:.1} s after the deletion, {killed:.1} s after SIGKILL",
        before.len()
    )))
}

async fn kill(fixture: &Fixture, pod: &Pod) -> Result<()> {
    let statuses = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref());
    let id = statuses.and_then(<[_]>::first).and_then(|container| container.container_id.as_deref());
    let id = id.and_then(|id| id.strip_prefix("containerd://")).context("the container has no id")?;
    let kill = ["ctr", "--namespace", "k8s.io", "tasks", "kill", "--signal", "SIGKILL", id];
    fixture.programs.run(kill).await.map(drop)
}
