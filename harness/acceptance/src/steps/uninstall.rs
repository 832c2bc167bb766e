//! Uninstalling leaves the volume and nothing else; a release of the same name finds it again; on request the volume goes,
//! too. Namespaces, and what others have in them, stay.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume};
use kube::{Api, ResourceExt as _};

use super::{Step, passed, rights};
use crate::eventually::eventually;
use crate::stage::{APPS, NAME, Stage};
use crate::table::Outcome;

pub(super) const STEP: Step = Step {
    name: "uninstall",
    about: "helm uninstall keeps the claim; persistence.keep=false removes it; namespaces stay",
    run: |stage| Box::pin(run(stage)),
};

async fn run(stage: &Stage) -> Result<Outcome> {
    stage.managed("web", 2).await?;
    let before = stage.session().await?.settings().await?;
    let claim = stage.claim().await?;
    stage.uninstall().await?;
    let kept = format!("persistentvolumeclaim/{NAME}");
    until_left(stage, &[&kept]).await?;

    stage.install(&stage.image, &["--set", "persistence.keep=false"]).await?;
    ensure!(stage.claim().await?.uid() == claim.uid(), "it is another claim");
    ensure!(stage.session().await?.settings().await? == before, "the settings changed");
    stage.uninstall().await?;
    until_left(stage, &[]).await?;
    let volume = claim.spec.and_then(|spec| spec.volume_name).unwrap_or_default();
    let volumes = Api::<PersistentVolume>::all(stage.kubernetes.clone());
    eventually("the volume is gone", async || {
        ensure!(volumes.get_opt(&volume).await?.is_none(), "{volume} is there");
        Ok(())
    })
    .await?;

    for name in [NAME, APPS] {
        let namespace = Api::<Namespace>::all(stage.kubernetes.clone()).get(name).await?;
        ensure!(namespace.metadata.deletion_timestamp.is_none(), "the namespace {name} is being deleted");
    }
    stage.until_ready("web", 2).await?;
    // The server ran once more after the step `rights`.
    rights::usage(stage)?;
    Ok(passed(format!(
        "only the claim was left, with {} settings; then nothing; namespaces and pods stay",
        before.len()
    )))
}

/// Awaits that of the release's objects, of any kind in any namespace, just these are left.
async fn until_left(stage: &Stage, expected: &[&str]) -> Result<()> {
    let kinds =
        stage.programs.run(["kubectl", "api-resources", "--verbs=list,delete", "--output=name"]).await?;
    // Events are about objects that may be gone.
    let kinds: Vec<&str> = kinds.lines().filter(|kind| !kind.starts_with("events")).collect();
    let (kinds, label) = (kinds.join(","), format!("app.kubernetes.io/instance={NAME}"));
    eventually("nothing else of the release is left", async || {
        let line = ["kubectl", "get", &kinds, "--all-namespaces", "--output=name", "--selector", &label];
        let said = stage.programs.run(line).await?;
        let left: Vec<&str> = said.lines().collect();
        ensure!(left == expected, "{left:?} is left");
        Ok(())
    })
    .await
}
