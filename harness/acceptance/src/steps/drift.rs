//! Somebody scales a managed Deployment, twice, and the server restores the count. An Event of Kubernetes tells it.

use anyhow::{Result, ensure};
use replica_count_testbed::observer::Observer;

use super::{Step, passed};
use crate::eventually::eventually;
use crate::fixture::{APPS, Fixture};
use crate::table::Outcome;

pub(super) const STEP: Step = Step {
    name: "drift",
    about: "drift by kubectl scale is repaired and its author named, also by kubectl describe",
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
    // The same again counts in the series of the same Event.
    fixture.programs.run(scale).await?;
    observer.wait_for_repair(6, desired).await?;
    let described = eventually("kubectl describe tells both drifts", async || {
        let describe = ["kubectl", "describe", "deployment", "scaled", "--namespace", APPS];
        let text = fixture.programs.run(describe).await?;
        let line = text.lines().find(|line| line.contains("kubectl through scale changed the count"));
        let line = line.unwrap_or_default().to_owned();
        ensure!(line.contains("Drifted") && line.contains("(x2 over"), "it shows {line:?}");
        Ok(line)
    })
    .await?;
    ensure!(described.contains(&format!("from {desired} to 6")), "{described}");
    fixture.wait_until_ready("scaled", desired).await?;
    Ok(passed(format!("repaired in {:.1} ms, by {by}", repair.duration().as_secs_f64() * 1000.0)))
}
