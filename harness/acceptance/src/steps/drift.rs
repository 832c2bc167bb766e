//! Somebody scales, and the count is put back before a pod is too many.

use anyhow::Result;
use replica_count_testbed::observer::Observer;

use super::{Step, passed};
use crate::stage::{APPS, Stage};
use crate::table::Outcome;

pub(super) const STEP: Step = Step {
    name: "drift",
    about: "kubectl scale of a managed Deployment is repaired and named",
    run: |stage| Box::pin(run(stage)),
};

async fn run(stage: &Stage) -> Result<Outcome> {
    stage.managed("scaled", 2).await?;
    let desired = stage.count("scaled").await?.unwrap_or_default();
    let mut observer = Observer::start(stage.deployments(), "scaled").await?;
    let scale = ["kubectl", "scale", "deployment", "scaled", "--namespace", APPS, "--replicas", "6"];
    stage.programs.run(scale).await?;
    let repair = observer.wait_for_repair(6, desired).await?;
    let by = stage.session().await?.culprit("scaled", "kubectl", 6).await?;
    stage.until_ready("scaled", desired).await?;
    Ok(passed(format!("repaired in {:.1} ms, by {by}", repair.duration().as_secs_f64() * 1000.0)))
}
