//! The scripts of the release pipeline, with the rights of its runner: the smoke test, a deploy by digest, and a deploy
//! of a missing image, which is rolled back.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result, ensure};
use serde_json::{Value, json};
use tokio::process::Command;

use super::{Step, passed};
use crate::fixture::{Fixture, NAME, RUNNERS};
use crate::image::{Image, Version};
use crate::programs;
use crate::table::Outcome;

const RULES: &str = "deploy/eks/rbac.yaml";

/// How long a deploy may take before it counts as failed.
const TIMEOUT: &str = "45s";

pub(super) const STEP: Step = Step {
    name: "pipeline",
    about: "scripts/smoke-test.sh and scripts/deploy.sh with the rights of deploy/eks/rbac.yaml; a failed deploy",
    run: |fixture| Box::pin(run(fixture)),
};

async fn run(fixture: &Fixture) -> Result<Outcome> {
    let Version::Digest(_) = &fixture.next_image.version else {
        return Ok(Outcome::Skipped("--next-image has no digest".to_owned()));
    };
    fixture.programs.run(["kubectl", "apply", "--filename", RULES]).await?;
    Ok(passed(deploy(fixture, &fixture.folder("pipeline")?).await?))
}

async fn deploy(fixture: &Fixture, folder: &Path) -> Result<String> {
    let kubeconfig = kubeconfig(fixture, folder).await?;
    let values = folder.join("values.yaml");
    fs::write(&values, fixture.values.as_deref().map(fs::read_to_string).transpose()?.unwrap_or_default())?;
    let as_runner = |words: &[&str]| -> Result<Command> {
        let mut command = fixture.programs.command(&replica_count_testbed::workspace::root()?, words);
        command.env("KUBECONFIG", &kubeconfig).env("VALUES_FILE", &values).env("TIMEOUT", TIMEOUT);
        // As in values-eks.yaml: the runner may not write admission policies.
        command.env("VALUES", "guard: { mode: \"off\" }");
        Ok(command)
    };
    let secret = format!("{NAME}-client-tls");
    let smoke_test =
        ["scripts/smoke-test.sh", "--service", NAME, "--namespace", NAME, "--client-secret", &secret];
    programs::output(as_runner(&smoke_test)?).await?;

    let before = fixture.session().await?.settings().await?;
    programs::output(as_runner(&["scripts/deploy.sh", &fixture.next_image.to_string()])?).await?;
    let pod = fixture.pod().await?;
    let image = pod.spec.and_then(|spec| spec.containers.into_iter().next()?.image);
    ensure!(image == Some(fixture.next_image.to_string()), "the pod runs {image:?}");

    let missing = Image {
        repository: fixture.next_image.repository.clone(),
        version: Version::Digest(format!("sha256:{:064}", 0)),
    };
    let output =
        programs::output_of_failure(as_runner(&["scripts/deploy.sh", &missing.to_string()])?).await?;
    ensure!(output.contains("is back and serves"), "it was not rolled back: {output}");
    ensure!(fixture.session().await?.settings().await? == before, "the settings changed");
    Ok("smoke test and deploy by digest pass with the rights of the runner; a missing image is rolled back"
        .to_owned())
}

/// A kubeconfig with a token of the runner.
async fn kubeconfig(fixture: &Fixture, folder: &Path) -> Result<PathBuf> {
    let token =
        fixture.programs.run(["kubectl", "create", "token", "runner-deploy", "--namespace", RUNNERS]).await?;
    let view = ["kubectl", "config", "view", "--raw", "--minify", "--flatten", "--output=json"];
    let mut kubeconfig: Value = serde_json::from_str(&fixture.programs.run(view).await?)?;
    let user = kubeconfig.pointer_mut("/users/0/user").context("a kubeconfig has a user")?;
    *user = json!({ "token": token.trim() });
    let path = folder.join("kubeconfig");
    fs::write(&path, kubeconfig.to_string())?;
    Ok(path)
}
