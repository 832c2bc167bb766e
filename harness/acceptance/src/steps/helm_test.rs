//! `helm test` calls the server from a separate pod, by the name of its Service.

use anyhow::{Result, ensure};

use super::{Step, passed};
use crate::fixture::{Fixture, NAME};
use crate::table::Outcome;

pub(super) const STEP: Step = Step {
    name: "helm-test",
    about: "helm test: a pod resolves the Service and calls it over mutual TLS",
    run: |fixture| Box::pin(run(fixture)),
};

async fn run(fixture: &Fixture) -> Result<Outcome> {
    let output = fixture.programs.run(["helm", "test", NAME, "--namespace", NAME, "--timeout", "2m"]).await?;
    let phase = output.lines().find_map(|line| line.strip_prefix("Phase:")).map(str::trim);
    ensure!(phase == Some("Succeeded"), "{output}");
    Ok(passed("Succeeded"))
}
