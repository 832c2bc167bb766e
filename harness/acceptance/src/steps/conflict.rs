//! Server-side apply of a managed Deployment, as described in docs/how-to/gitops.md: a different count is a conflict, with force
//! it is drift, and a manifest without a count changes nothing.

use std::fs;

use anyhow::{Result, ensure};
use replica_count_testbed::observer::Observer;

use super::{Step, passed};
use crate::fixture::Fixture;
use crate::programs::Programs;
use crate::table::Outcome;

const DESIRED: i32 = 2;

pub(super) const STEP: Step = Step {
    name: "conflict",
    about: "kubectl apply --server-side with another count, with force, and without a count",
    run: |fixture| Box::pin(run(fixture)),
};

async fn run(fixture: &Fixture) -> Result<Outcome> {
    fixture.managed("applied", DESIRED).await?;
    let folder = fixture.folder("conflict")?;
    let write = |name: &str, replicas| -> Result<String> {
        let path = folder.join(name);
        fs::write(&path, fixture.manifest("applied", replicas).to_string())?;
        Ok(path.display().to_string())
    };
    let (other, none) = (write("other.json", Some(4))?, write("none.json", None)?);

    // The Deployment was created with the desired count, so the server owns it only after a repair.
    fixture
        .programs
        .run(["kubectl", "scale", "deployment/applied", "--namespace=acceptance", "--replicas=3"])
        .await?;
    let mut session = fixture.session().await?;
    session.wait_for_drift_by("applied", "kubectl", 3).await?;
    session.wait_until_in_sync("applied").await?;
    let mut observer = Observer::start(fixture.deployments(), "applied").await?;

    let refused = fixture.programs.run_expecting_failure(apply(&other)).await?;
    for word in ["conflict", "replica-count-manager", ".spec.replicas"] {
        ensure!(refused.contains(word), "{word} is not in: {refused}");
    }
    fixture.programs.run(apply(&none).into_iter().chain(["--force-conflicts"])).await?;
    ensure!(fixture.count("applied").await? == Some(DESIRED), "a manifest without a count changed it");
    apply_forced(&fixture.programs, &other).await?;
    let repair = observer.wait_for_repair(4, DESIRED).await?;
    let by = session.wait_for_drift_by("applied", "acceptance", 4).await?;
    Ok(passed(format!(
        "refused as a conflict; forced: repaired in {:.1} ms, by {by}",
        repair.duration().as_secs_f64() * 1000.0
    )))
}

fn apply(file: &str) -> Vec<&str> {
    vec!["kubectl", "apply", "--server-side", "--field-manager", "acceptance", "--filename", file]
}

async fn apply_forced(programs: &Programs, file: &str) -> Result<()> {
    programs.run(apply(file).into_iter().chain(["--force-conflicts"])).await.map(drop)
}
