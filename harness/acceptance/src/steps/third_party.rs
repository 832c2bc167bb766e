//! A chart of somebody else whose Deployment is managed, and whose upgrade says another count: as the README says, Helm 3
//! drifts and is repaired, Helm 4 gets a conflict, and with force it drifts and is repaired, too.

use anyhow::{Result, ensure};
use replica_count_testbed::observer::Observer;

use super::{Step, passed};
use crate::helm::Version;
use crate::stage::{APPS, Stage};
use crate::table::Outcome;

const NAME: &str = "podinfo";
const DESIRED: i32 = 3;

pub(super) const STEP: Step = Step {
    name: "third-party",
    about: "upgrades of the published chart podinfo, which is managed",
    run: |stage| Box::pin(run(stage)),
};

async fn run(stage: &Stage) -> Result<Outcome> {
    upgrade(stage, 1, &["--install", "--wait"]).await?;
    stage.until_ready(NAME, 1).await?;
    let mut session = stage.session().await?;
    session.set(NAME, DESIRED).await?;
    session.until_in_sync(NAME).await?;
    stage.until_ready(NAME, DESIRED).await?;

    let mut observer = Observer::start(stage.deployments(), NAME).await?;
    let mut seen = String::new();
    match stage.helm {
        Version::Helm3 => upgrade(stage, 2, &[]).await?,
        Version::Helm4 => {
            let refused = stage.programs.run_in_vain(words(stage, 2, &[])).await?;
            for word in ["conflict", "replica-count-manager", ".spec.replicas"] {
                ensure!(refused.contains(word), "{word} is not in: {refused}");
            }
            seen += "refused as a conflict; forced: ";
            upgrade(stage, 2, &["--force-conflicts"]).await?;
        }
    }
    let repair = observer.wait_for_repair(2, DESIRED).await?;
    let by = session.culprit(NAME, "helm", 2).await?;
    stage.until_ready(NAME, DESIRED).await?;
    session.forget(NAME).await?;
    stage.programs.run(["helm", "uninstall", NAME, "--namespace", APPS, "--wait"]).await?;
    Ok(passed(format!("{seen}repaired in {:.1} ms, by {by}", repair.duration().as_secs_f64() * 1000.0)))
}

async fn upgrade(stage: &Stage, replicas: i32, more: &[&str]) -> Result<()> {
    stage.programs.run(words(stage, replicas, more)).await.map(drop)
}

fn words(stage: &Stage, replicas: i32, more: &[&str]) -> Vec<String> {
    let chart = stage.podinfo_chart.display().to_string();
    let count = format!("replicaCount={replicas}");
    let line = ["helm", "upgrade", NAME, &chart, "--namespace", APPS, "--set", &count];
    let mut words: Vec<String> = line.into_iter().chain(more.iter().copied()).map(str::to_owned).collect();
    if let Some(image) = &stage.podinfo {
        words.extend(image.values().into_iter().flat_map(|value| ["--set-string".to_owned(), value]));
    }
    words
}
