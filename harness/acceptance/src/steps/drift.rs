//! Somebody scales a managed Deployment, and the server restores the count.

use anyhow::Result;
use replica_count_testbed::observer::Observer;

use super::{Step, passed};
use crate::fixture::{APPS, Fixture};
use crate::table::Outcome;

pub(super) const STEP: Step = Step {
    name: "drift",
    about: "drift by kubectl scale is repaired and its author named",
    run: |fixture| Box::pin(run(fixture)),
};

async fn run(fixture: &Fixture) -> Result<Outcome> {
    fixture.managed("scaled", 2).await?;
    let desired = fixture.count("scaled").await?.unwrap_or_default();
    let mut observer = Observer::start(fixture.deployments(), "scaled").await?;
    let scale = ["kubectl", "scale", "deployment", "scaled", "--namespace", APPS, "--replicas", "6"];
    fixture.programs.run(scale).await?;
    let repair = observer.wait_for_repair(6, desired).await?;
    let by = fixture.session().await?.wait_for_drift_by("scaled", "kubectl", 6).await?;
    fixture.wait_until_ready("scaled", desired).await?;
    Ok(passed(format!("repaired in {:.1} ms, by {by}", repair.duration().as_secs_f64() * 1000.0)))
}
