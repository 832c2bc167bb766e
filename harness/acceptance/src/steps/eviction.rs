//! A node drain: the disruption budget permits the eviction, and the settings are still there when the pod is back.

use anyhow::{Context as _, Result, ensure};
use kube::ResourceExt as _;
use kube::api::EvictParams;
use tokio::time::Instant;

use super::{Step, passed};
use crate::eventually::eventually;
use crate::fixture::Fixture;
use crate::table::Outcome;

pub(super) const STEP: Step = Step {
    name: "eviction",
    about: "the node is cordoned and the pod evicted, like a drain, then uncordoned",
    run: |fixture| Box::pin(run(fixture)),
};

async fn run(fixture: &Fixture) -> Result<Outcome> {
    fixture.managed("web", 2).await?;
    let before = fixture.session().await?.settings().await?;
    let pod = fixture.pod().await?;
    let node = pod.spec.as_ref().and_then(|spec| spec.node_name.as_deref()).context("the pod has no node")?;
    fixture.cordon(node).await?;
    let gone = evict(fixture, &pod.name_any()).await;
    fixture.uncordon().await?;
    let gone = gone?;
    fixture.pod_after(&pod).await?;
    ensure!(fixture.session().await?.settings().await? == before, "the settings changed");
    Ok(passed(format!("evicted and gone in {gone:.1} s; {} settings kept", before.len())))
}

/// Evicts the pod without retries: an eviction against the budget would be refused with 429.
async fn evict(fixture: &Fixture, name: &str) -> Result<f64> {
    let started = Instant::now();
    fixture.pods().evict(name, &EvictParams::default()).await.context("the eviction was refused")?;
    eventually("the pod is gone", async || {
        ensure!(fixture.pods().get_opt(name).await?.is_none(), "{name} still exists");
        Ok(started.elapsed().as_secs_f64())
    })
    .await
}
