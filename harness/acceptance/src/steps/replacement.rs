//! A new pod on the same volume keeps counts, generations, authors and times, and repairs drift.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{Api, ResourceExt as _};

use super::{Step, passed};
use crate::fixture::{APPS, Fixture, NAME};
use crate::table::Outcome;

pub(super) const STEP: Step = Step {
    name: "replacement",
    about: "kubectl rollout restart: new pod, same volume, same settings",
    run: |fixture| Box::pin(run(fixture)),
};

impl Fixture {
    /// The release's claim.
    pub(super) async fn claim(&self) -> Result<PersistentVolumeClaim> {
        Ok(Api::namespaced(self.kubernetes.clone(), NAME).get(NAME).await?)
    }
}

async fn run(fixture: &Fixture) -> Result<Outcome> {
    fixture.managed("replaced", 2).await?;
    let (before, claim, pod) =
        (fixture.session().await?.settings().await?, fixture.claim().await?, fixture.pod().await?);
    let deployment = format!("deployment/{NAME}");
    fixture.programs.run(["kubectl", "rollout", "restart", "--namespace", NAME, &deployment]).await?;
    fixture.pod_after(&pod).await?;
    let after = fixture.claim().await?;
    ensure!(after.uid() == claim.uid(), "it is a different claim");
    let volume =
        |claim: &PersistentVolumeClaim| claim.spec.as_ref().and_then(|spec| spec.volume_name.clone());
    ensure!(volume(&after) == volume(&claim), "it is a different volume");
    let mut session = fixture.session().await?;
    ensure!(session.settings().await? == before, "the settings changed");

    fixture
        .programs
        .run(["kubectl", "scale", "deployment/replaced", "--namespace", APPS, "--replicas=5"])
        .await?;
    let by = session.wait_for_drift_by("replaced", "kubectl", 5).await?;
    session.wait_until_in_sync("replaced").await?;
    let volume = volume(&after).context("the claim has no volume")?;
    Ok(passed(format!("{} settings kept on {volume}; the next drift is repaired, by {by}", before.len())))
}
