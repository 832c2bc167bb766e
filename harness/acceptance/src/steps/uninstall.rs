//! Uninstalling keeps only the volume, and a new release with the same name finds it again. On request, the volume is
//! removed, too. Namespaces and other objects in them stay.

use anyhow::{Result, ensure};
use k8s_openapi::api::core::v1::{Namespace, PersistentVolume};
use kube::{Api, ResourceExt as _};

use super::{Step, passed, rights};
use crate::eventually::eventually;
use crate::fixture::{APPS, Fixture, NAME};
use crate::table::Outcome;

pub(super) const STEP: Step = Step {
    name: "uninstall",
    about: "helm uninstall keeps the claim; persistence.keep=false removes it; namespaces stay",
    run: |fixture| Box::pin(run(fixture)),
};

async fn run(fixture: &Fixture) -> Result<Outcome> {
    fixture.managed("web", 2).await?;
    let before = fixture.session().await?.settings().await?;
    let claim = fixture.claim().await?;
    fixture.uninstall().await?;
    let kept = format!("persistentvolumeclaim/{NAME}");
    wait_until_only(fixture, &[&kept]).await?;

    fixture.install(&fixture.image, &["--set", "persistence.keep=false"]).await?;
    ensure!(fixture.claim().await?.uid() == claim.uid(), "it is a different claim");
    ensure!(fixture.session().await?.settings().await? == before, "the settings changed");
    fixture.uninstall().await?;
    wait_until_only(fixture, &[]).await?;
    let volume = claim.spec.and_then(|spec| spec.volume_name).unwrap_or_default();
    let volumes = Api::<PersistentVolume>::all(fixture.kubernetes.clone());
    eventually("the volume is gone", async || {
        ensure!(volumes.get_opt(&volume).await?.is_none(), "{volume} still exists");
        Ok(())
    })
    .await?;

    for name in [NAME, APPS] {
        let namespace = Api::<Namespace>::all(fixture.kubernetes.clone()).get(name).await?;
        ensure!(namespace.metadata.deletion_timestamp.is_none(), "the namespace {name} is being deleted");
    }
    fixture.wait_until_ready("web", 2).await?;
    // The server has run again since the step `rights`.
    rights::allowed_usage(fixture)?;
    Ok(passed(format!(
        "only the claim was left, with {} settings; then nothing; namespaces and pods stayed",
        before.len()
    )))
}

/// Waits until only these objects of the release are left, of all kinds in all namespaces.
pub(super) async fn wait_until_only(fixture: &Fixture, expected: &[&str]) -> Result<()> {
    let kinds =
        fixture.programs.run(["kubectl", "api-resources", "--verbs=list,delete", "--output=name"]).await?;
    // Events may outlive their objects.
    let kinds: Vec<&str> = kinds.lines().filter(|kind| !kind.starts_with("events")).collect();
    let (kinds, label) = (kinds.join(","), format!("app.kubernetes.io/instance={NAME}"));
    eventually("nothing else of the release is left", async || {
        let line = ["kubectl", "get", &kinds, "--all-namespaces", "--output=name", "--selector", &label];
        let output = fixture.programs.run(line).await?;
        let left: Vec<&str> = output.lines().collect();
        ensure!(left == expected, "{left:?} is left");
        Ok(())
    })
    .await
}
