//! What a server-side apply of a managed Deployment does, as the README says: another count is a conflict, with force it
//! is drift, and a manifest without a count changes nothing.

use std::fs;

use anyhow::{Result, ensure};
use replica_count_testbed::observer::Observer;

use super::{Step, passed};
use crate::programs::Programs;
use crate::stage::Stage;
use crate::table::Outcome;

const DESIRED: i32 = 2;

pub(super) const STEP: Step = Step {
    name: "conflict",
    about: "kubectl apply --server-side with another count, with force, and without a count",
    run: |stage| Box::pin(run(stage)),
};

async fn run(stage: &Stage) -> Result<Outcome> {
    stage.managed("applied", DESIRED).await?;
    let folder = stage.folder("conflict")?;
    let write = |name: &str, replicas| -> Result<String> {
        let path = folder.join(name);
        fs::write(&path, stage.manifest("applied", replicas).to_string())?;
        Ok(path.display().to_string())
    };
    let (other, none) = (write("other.json", Some(4))?, write("none.json", None)?);

    // The count of the creation has been written by the server since it is managed.
    stage
        .programs
        .run(["kubectl", "scale", "deployment/applied", "--namespace=acceptance", "--replicas=3"])
        .await?;
    let mut session = stage.session().await?;
    session.culprit("applied", "kubectl", 3).await?;
    session.until_in_sync("applied").await?;
    let mut observer = Observer::start(stage.deployments(), "applied").await?;

    let said = stage.programs.run_in_vain(apply(&other)).await?;
    for word in ["conflict", "replica-count-manager", ".spec.replicas"] {
        ensure!(said.contains(word), "{word} is not in: {said}");
    }
    stage.programs.run(apply(&none).into_iter().chain(["--force-conflicts"])).await?;
    ensure!(stage.count("applied").await? == Some(DESIRED), "a manifest without a count changed it");
    forced(&stage.programs, &other).await?;
    let repair = observer.wait_for_repair(4, DESIRED).await?;
    let by = session.culprit("applied", "acceptance", 4).await?;
    Ok(passed(format!(
        "refused as a conflict; forced: repaired in {:.1} ms, by {by}",
        repair.duration().as_secs_f64() * 1000.0
    )))
}

fn apply(file: &str) -> Vec<&str> {
    vec!["kubectl", "apply", "--server-side", "--field-manager", "acceptance", "--filename", file]
}

async fn forced(programs: &Programs, file: &str) -> Result<()> {
    programs.run(apply(file).into_iter().chain(["--force-conflicts"])).await.map(drop)
}
