//! `testbed demo`: shows what the server does, on a real API server. Every number is measured, and a step that does not
//! happen ends the demo with an error.

mod stage;

use std::path::PathBuf;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use replica_count_testbed::observer::Repair;
use stage::Stage;

use crate::output::say;

/// How long the controllers have to delete pods.
const SETTLE: Duration = Duration::from_secs(1);

/// How long the count must stay unchanged.
const UNCHANGED: Duration = Duration::from_secs(2);

pub(crate) async fn run(testbed: PathBuf) -> Result<()> {
    let mut stage = Stage::start(testbed).await?;
    set(&mut stage).await.context("step 1, set a count")?;
    scale(&mut stage).await.context("step 2, scale with kubectl")?;
    upgrade(&mut stage).await.context("step 3, a Helm-like upgrade")?;
    apply(&mut stage).await.context("step 4, a server-side apply")?;
    restart(&mut stage).await.context("step 5, a restart")?;
    lose_pods(&mut stage).await.context("step 6, scale to 0")?;
    guard(&mut stage).await.context("step 7, the guard")?;
    delete(&mut stage).await.context("step 8, delete the setting")?;
    say("\nDone, all on a real API server. To try it yourself, use `make run`, which leaves one running.");
    Ok(())
}

/// Prints a step and its outcome.
fn step(number: u8, action: &str, outcome: &str) {
    say(&format!("\n{number}. {action}\n   {outcome}"));
}

fn milliseconds(duration: Duration) -> String {
    format!("{:.1} ms", duration.as_secs_f64() * 1000.0)
}

async fn set(stage: &mut Stage) -> Result<()> {
    let set = stage.set_replicas(3).await?;
    let followed = stage.observer.wait_for(3).await?;
    let outcome = format!(
        "Stored durably and answered after {}; the cluster, which had {}, had 3 after {}.",
        milliseconds(set.answered - set.sent),
        set.replicas_before,
        milliseconds(followed.saturating_duration_since(set.sent)),
    );
    step(1, "A team sets 3 replicas: SetDeployment over mTLS.", &outcome);
    Ok(())
}

async fn scale(stage: &mut Stage) -> Result<()> {
    stage.kubectl_scale(7).await?;
    let repair = stage.observer.wait_for_repair(7, 3).await?;
    let by = stage.drifted_by("kubectl", 7).await?;
    step(2, "Somebody else runs `kubectl scale --replicas 7`.", &repaired(repair, &by));
    Ok(())
}

async fn upgrade(stage: &mut Stage) -> Result<()> {
    stage.helm_upgrade(1).await?;
    let repair = stage.observer.wait_for_repair(1, 3).await?;
    let by = stage.drifted_by("helm", 1).await?;
    step(3, "A Helm 3 release is upgraded, and its manifest still says 1.", &repaired(repair, &by));
    Ok(())
}

async fn apply(stage: &mut Stage) -> Result<()> {
    let message = stage.server_side_apply(1).await?;
    ensure!(message.contains("replica-count-manager"), "the conflict does not name the manager: {message}");
    stage.observer.expect_unchanged(Duration::ZERO)?;
    let action = "The same manifest is applied server-side, as Helm 4 does.";
    step(
        4,
        action,
        "The API server refuses it before anything drifts, because replica-count-manager owns the count.",
    );
    Ok(())
}

async fn restart(stage: &mut Stage) -> Result<()> {
    stage.stop_manager().await?;
    stage.kubectl_scale(5).await?;
    stage.observer.wait_for(5).await?;
    let started = stage.start_manager().await?;
    let repaired = stage.observer.wait_for(3).await?;
    let by = stage.drifted_by("kubectl", 5).await?;
    let outcome = format!(
        "It read its store and the cluster, and restored 3 replicas {} after its start. Get names who changed it: {by}.",
        milliseconds(repaired.saturating_duration_since(started))
    );
    step(5, "The server is stopped, somebody scales to 5, and the server is started again.", &outcome);
    Ok(())
}

async fn lose_pods(stage: &mut Stage) -> Result<()> {
    let before = stage.pods(3).await?;
    stage.kubectl_scale(0).await?;
    let repair = stage.observer.wait_for_repair(0, 3).await?;
    tokio::time::sleep(SETTLE).await;
    let lost = before.difference(&stage.pods(3).await?).count();
    let outcome = format!(
        "The count was back after {}, but {lost} of 3 pods are new: Kubernetes is quicker than any repair.",
        milliseconds(repair.duration())
    );
    step(6, "Somebody scales to 0.", &outcome);
    Ok(())
}

async fn guard(stage: &mut Stage) -> Result<()> {
    let mode = stage.guard().await?;
    let before = stage.pods(3).await?;
    let (is_done, text) = stage.try_kubectl_scale(0).await?;
    ensure!(is_done == (mode == "correct"), "kubectl said: {text}");
    tokio::time::sleep(SETTLE).await;
    stage.observer.expect_unchanged(SETTLE)?;
    let lost = before.difference(&stage.pods(3).await?).count();
    ensure!(lost == 0, "{lost} pods were lost");
    let action = format!("The guard is on (--guard={mode}), and somebody scales to 0 again.");
    step(
        7,
        &action,
        &format!("The count never changed, all 3 pods are still there, and kubectl said:\n   {text}"),
    );
    Ok(())
}

async fn delete(stage: &mut Stage) -> Result<()> {
    stage.delete_setting().await?;
    stage.kubectl_scale(5).await?;
    stage.observer.wait_for(5).await?;
    stage.await_unmanaged(5).await?;
    tokio::time::sleep(UNCHANGED).await;
    stage.observer.expect_unchanged(UNCHANGED)?;
    let outcome = format!(
        "The server reports 5, unmanaged, and {:.0} s later it is still 5: it only changes what it manages.",
        UNCHANGED.as_secs_f64()
    );
    step(8, "The team deletes its setting, and somebody scales to 5.", &outcome);
    Ok(())
}

fn repaired(repair: Repair, by: &str) -> String {
    format!(
        "An independent watcher saw 3 replicas again after {}. Get names who changed it: {by}.",
        milliseconds(repair.duration())
    )
}
