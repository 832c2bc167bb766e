//! `helm test` calls the server from a pod of its own, by the name of its Service.

use anyhow::{Result, ensure};

use super::{Step, passed};
use crate::stage::{NAME, Stage};
use crate::table::Outcome;

pub(super) const STEP: Step = Step {
    name: "helm-test",
    about: "helm test: a pod resolves the Service and calls it over mutual TLS",
    run: |stage| Box::pin(run(stage)),
};

async fn run(stage: &Stage) -> Result<Outcome> {
    let said = stage.programs.run(["helm", "test", NAME, "--namespace", NAME, "--timeout", "2m"]).await?;
    let phase = said.lines().find_map(|line| line.strip_prefix("Phase:")).map(str::trim);
    ensure!(phase == Some("Succeeded"), "{said}");
    Ok(passed("Succeeded"))
}
