//! A Set is followed by pods, and refused for a Deployment that does not exist.

use anyhow::{Result, ensure};
use tokio::time::Instant;

use super::{Step, passed};
use crate::stage::Stage;
use crate::table::Outcome;

pub(super) const STEP: Step = Step {
    name: "set",
    about: "SetDeployment 3, 0, 2: pods follow; of a Deployment that does not exist: refused",
    run: |stage| Box::pin(run(stage)),
};

async fn run(stage: &Stage) -> Result<Outcome> {
    stage.application("web", 1).await?;
    let mut session = stage.session().await?;
    let mut seen = Vec::new();
    let mut before = 1;
    for replicas in [3, 0, 2] {
        let started = Instant::now();
        let answer = session.set("web", replicas).await?;
        ensure!(answer.old_replicas == Some(before), "the count before was {before}: {answer:?}");
        let answered = started.elapsed();
        stage.until_ready("web", replicas).await?;
        let answer =
            session.until("web", "its pods", |answer| answer.ready_replicas == Some(replicas)).await?;
        ensure!(answer.drift_count == 0, "a Set is no drift: {answer:?}");
        seen.push(format!(
            "{replicas}: durable in {:.1} ms, pods in {:.1} s",
            answered.as_secs_f64() * 1000.0,
            started.elapsed().as_secs_f64()
        ));
        before = replicas;
    }
    // What the watch has not shown is asked for.
    session.set_in_vain("missing").await?;
    Ok(passed(seen.join("; ")))
}
