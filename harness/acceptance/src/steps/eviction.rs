//! The node is to be emptied: the disruption budget lets the pod go, and what was stored is there when it is back.

use anyhow::{Context as _, Result, ensure};
use kube::ResourceExt as _;
use kube::api::EvictParams;
use tokio::time::Instant;

use super::{Step, passed};
use crate::eventually::eventually;
use crate::stage::Stage;
use crate::table::Outcome;

pub(super) const STEP: Step = Step {
    name: "eviction",
    about: "the node is cordoned and the pod evicted, as a drain does; then it is uncordoned",
    run: |stage| Box::pin(run(stage)),
};

async fn run(stage: &Stage) -> Result<Outcome> {
    stage.managed("web", 2).await?;
    let before = stage.session().await?.settings().await?;
    let pod = stage.pod().await?;
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).context("the pod has no node")?;
    stage.cordon(node).await?;
    let gone = evict(stage, &pod.name_any()).await;
    stage.uncordon().await?;
    let gone = gone?;
    stage.pod_after(&pod).await?;
    ensure!(stage.session().await?.settings().await? == before, "the settings changed");
    Ok(passed(format!("evicted and gone in {gone:.1} s; {} settings kept", before.len())))
}

/// Evicts it at once: an eviction that would break the budget is refused with 429.
async fn evict(stage: &Stage, name: &str) -> Result<f64> {
    let started = Instant::now();
    stage.pods().evict(name, &EvictParams::default()).await.context("the eviction was refused")?;
    eventually("the pod is gone", async || {
        ensure!(stage.pods().get_opt(name).await?.is_none(), "{name} is there");
        Ok(started.elapsed().as_secs_f64())
    })
    .await
}
