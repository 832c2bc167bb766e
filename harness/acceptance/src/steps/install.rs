//! The documented command installs the server. From then on, pod security `restricted` is enforced for its pods.

use anyhow::{Result, ensure};
use tokio::time::Instant;

use super::{Step, passed};
use crate::fixture::{Fixture, NAME};
use crate::table::Outcome;

pub(super) const STEP: Step = Step {
    name: "install",
    about: "helm upgrade --install from a chart repository, --create-namespace, --wait",
    run: |fixture| Box::pin(run(fixture)),
};

async fn run(fixture: &Fixture) -> Result<Outcome> {
    let started = Instant::now();
    let notes = fixture.install(&fixture.image, &[]).await?;
    let took = started.elapsed().as_secs_f64();
    ensure!(notes.contains("is installed as replica-count-manager"), "unexpected notes: {notes}");
    let pod = fixture.pod().await?;
    let label = "pod-security.kubernetes.io/enforce=restricted";
    fixture.programs.run(["kubectl", "label", "namespace", NAME, label]).await?;
    let claim = fixture.claim().await?;
    let class = claim.spec.and_then(|spec| spec.storage_class_name).unwrap_or_default();
    let image = pod.spec.and_then(|spec| spec.containers.into_iter().next()?.image).unwrap_or_default();
    Ok(passed(format!("ready after {took:.1} s, volume of class {class}, {image}")))
}
