//! The user's line installs the server, and pod security `restricted` admits all its pods from then on.

use anyhow::{Result, ensure};
use tokio::time::Instant;

use super::{Step, passed};
use crate::stage::{NAME, Stage};
use crate::table::Outcome;

pub(super) const STEP: Step = Step {
    name: "install",
    about: "helm upgrade --install from a chart repository, --create-namespace, --wait",
    run: |stage| Box::pin(run(stage)),
};

async fn run(stage: &Stage) -> Result<Outcome> {
    let started = Instant::now();
    let notes = stage.install(&stage.image, &[]).await?;
    let took = started.elapsed().as_secs_f64();
    ensure!(notes.contains("is installed as replica-count-manager"), "these are not the notes: {notes}");
    let pod = stage.pod().await?;
    let label = "pod-security.kubernetes.io/enforce=restricted";
    stage.programs.run(["kubectl", "label", "namespace", NAME, label]).await?;
    let claim = stage.claim().await?;
    let class = claim.spec.and_then(|spec| spec.storage_class_name).unwrap_or_default();
    let image = pod.spec.and_then(|spec| spec.containers.into_iter().next()?.image).unwrap_or_default();
    Ok(passed(format!("ready after {took:.1} s, a volume of class {class}, {image}")))
}
