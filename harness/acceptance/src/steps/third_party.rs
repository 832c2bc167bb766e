//! A managed Deployment of a third-party chart, upgraded to a different count. As described in docs/how-to/gitops.md, an upgrade
//! by Helm 3 drifts and is repaired; Helm 4 gets a conflict, and with force drifts and is repaired, too.

use anyhow::{Result, ensure};
use replica_count_testbed::observer::Observer;

use super::{Step, passed};
use crate::fixture::{APPS, Fixture};
use crate::helm::Version;
use crate::table::Outcome;

const NAME: &str = "podinfo";
const DESIRED: i32 = 3;

pub(super) const STEP: Step = Step {
    name: "third-party",
    about: "upgrades of a managed release of the published chart podinfo",
    run: |fixture| Box::pin(run(fixture)),
};

async fn run(fixture: &Fixture) -> Result<Outcome> {
    upgrade(fixture, 1, &["--install", "--wait"]).await?;
    fixture.wait_until_ready(NAME, 1).await?;
    let mut session = fixture.session().await?;
    session.set(NAME, DESIRED).await?;
    session.wait_until_in_sync(NAME).await?;
    fixture.wait_until_ready(NAME, DESIRED).await?;

    let mut observer = Observer::start(fixture.deployments(), NAME).await?;
    let mut seen = String::new();
    match fixture.helm {
        Version::Helm3 => upgrade(fixture, 2, &[]).await?,
        Version::Helm4 => {
            let refused = fixture.programs.run_expecting_failure(words(fixture, 2, &[])).await?;
            for word in ["conflict", "replica-count-manager", ".spec.replicas"] {
                ensure!(refused.contains(word), "{word} is not in: {refused}");
            }
            seen += "refused as a conflict; forced: ";
            upgrade(fixture, 2, &["--force-conflicts"]).await?;
        }
    }
    let repair = observer.wait_for_repair(2, DESIRED).await?;
    let by = session.wait_for_drift_by(NAME, "helm", 2).await?;
    fixture.wait_until_ready(NAME, DESIRED).await?;
    session.delete_setting(NAME).await?;
    fixture.programs.run(["helm", "uninstall", NAME, "--namespace", APPS, "--wait"]).await?;
    Ok(passed(format!("{seen}repaired in {:.1} ms, by {by}", repair.duration().as_secs_f64() * 1000.0)))
}

async fn upgrade(fixture: &Fixture, replicas: i32, more: &[&str]) -> Result<()> {
    fixture.programs.run(words(fixture, replicas, more)).await.map(drop)
}

fn words(fixture: &Fixture, replicas: i32, more: &[&str]) -> Vec<String> {
    let chart = fixture.podinfo_chart.display().to_string();
    let count = format!("replicaCount={replicas}");
    let line = ["helm", "upgrade", NAME, &chart, "--namespace", APPS, "--set", &count];
    let mut words: Vec<String> = line.into_iter().chain(more.iter().copied()).map(str::to_owned).collect();
    if let Some(image) = &fixture.podinfo {
        words.extend(image.values().into_iter().flat_map(|value| ["--set-string".to_owned(), value]));
    }
    words
}
