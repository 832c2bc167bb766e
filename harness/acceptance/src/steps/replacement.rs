//! A new pod on the same volume: counts, generations, authors and times are those of before, and drift is repaired again.

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::{Api, ResourceExt as _};

use super::{Step, passed};
use crate::stage::{APPS, NAME, Stage};
use crate::table::Outcome;

pub(super) const STEP: Step = Step {
    name: "replacement",
    about: "kubectl rollout restart: another pod, the same volume, the same settings",
    run: |stage| Box::pin(run(stage)),
};

impl Stage {
    /// The claim of the release.
    pub(super) async fn claim(&self) -> Result<PersistentVolumeClaim> {
        Ok(Api::namespaced(self.kubernetes.clone(), NAME).get(NAME).await?)
    }
}

async fn run(stage: &Stage) -> Result<Outcome> {
    stage.managed("replaced", 2).await?;
    let (before, claim, pod) =
        (stage.session().await?.settings().await?, stage.claim().await?, stage.pod().await?);
    let deployment = format!("deployment/{NAME}");
    stage.programs.run(["kubectl", "rollout", "restart", "--namespace", NAME, &deployment]).await?;
    stage.pod_after(&pod).await?;
    let after = stage.claim().await?;
    ensure!(after.uid() == claim.uid(), "it is another claim");
    let volume =
        |claim: &PersistentVolumeClaim| claim.spec.as_ref().and_then(|spec| spec.volume_name.clone());
    ensure!(volume(&after) == volume(&claim), "it is another volume");
    let mut session = stage.session().await?;
    ensure!(session.settings().await? == before, "the settings changed");

    stage
        .programs
        .run(["kubectl", "scale", "deployment/replaced", "--namespace", APPS, "--replicas=5"])
        .await?;
    let by = session.culprit("replaced", "kubectl", 5).await?;
    session.until_in_sync("replaced").await?;
    let volume = volume(&after).context("the claim has no volume")?;
    Ok(passed(format!("{} settings kept on {volume}; the next drift is repaired, by {by}", before.len())))
}
