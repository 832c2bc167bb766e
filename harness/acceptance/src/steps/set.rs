//! Pods follow a Set, and a Set of a missing Deployment is refused.

use anyhow::{Result, ensure};
use tokio::time::Instant;

use super::{Step, passed};
use crate::fixture::Fixture;
use crate::table::Outcome;

pub(super) const STEP: Step = Step {
    name: "set",
    about: "SetDeployment 3, 0, 2: pods follow; a missing Deployment: refused",
    run: |fixture| Box::pin(run(fixture)),
};

async fn run(fixture: &Fixture) -> Result<Outcome> {
    fixture.application("web", 1).await?;
    let mut session = fixture.session().await?;
    let mut seen = Vec::new();
    let mut before = 1;
    for replicas in [3, 0, 2] {
        let started = Instant::now();
        let answer = session.set("web", replicas).await?;
        ensure!(answer.old_replicas == Some(before), "the count before was {before}: {answer:?}");
        let answered = started.elapsed();
        fixture.wait_until_ready("web", replicas).await?;
        let answer =
            session.wait_for("web", "its pods", |answer| answer.ready_replicas == Some(replicas)).await?;
        ensure!(answer.drift_count == 0, "a Set is no drift: {answer:?}");
        seen.push(format!(
            "{replicas}: durable in {:.1} ms, pods in {:.1} s",
            answered.as_secs_f64() * 1000.0,
            started.elapsed().as_secs_f64()
        ));
        before = replicas;
    }
    // The server asks the API server about Deployments that its watch has not shown.
    session.set_expecting_not_found("missing").await?;
    Ok(passed(seen.join("; ")))
}
