//! The chart's default guard: the API server keeps the count, so no pod is lost, and whoever calls the workload does not
//! notice.

use std::collections::BTreeSet;

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};
use replica_count_api::proto::GuardState;
use replica_count_testbed::observer::Observer;
use tokio::time::{self, Instant};

use super::{Step, passed};
use crate::eventually::eventually;
use crate::fixture::{APPS, Fixture};
use crate::load::{CALLERS, Caller as _, Load, REQUESTS_PER_SECOND};
use crate::reader::{PORT, Reader};
use crate::session::Setting;
use crate::table::Outcome;

pub(super) const STEP: Step = Step {
    name: "guard",
    about: "guard.mode=deny and auto: the pods of a managed Deployment survive kubectl scale --replicas 0",
    run: |fixture| Box::pin(run(fixture)),
};

/// Much longer than a pod takes to be stopped.
const WATCHED: time::Duration = time::Duration::from_secs(3);

/// How many requests are answered before somebody scales.
const WARM_UP: usize = 50;

const GUARDED: &str = "guarded";
const REPLICAS: i32 = 3;

async fn run(fixture: &Fixture) -> Result<Outcome> {
    fixture.managed(GUARDED, REPLICAS).await?;
    fixture.expose(GUARDED).await?;
    let denies = keeps_its_pods(fixture, "deny").await?;
    let chosen = keeps_its_pods(fixture, "auto").await?;
    let in_force = new_count(fixture, GUARDED).await?;
    forget_and_restore(fixture).await?;
    Ok(passed(format!(
        "{}, {}: no pod lost, count unchanged, none of {} requests to the pods without an answer; a Set passes the \
         guard in {:.1} ms",
        denies.state.as_str_name(),
        chosen.state.as_str_name(),
        denies.answers + chosen.answers,
        in_force.as_secs_f64() * 1000.0
    )))
}

/// What was seen while somebody scaled to 0.
struct Kept {
    /// What the server says of the guard.
    state: GuardState,
    /// How many requests the pods answered.
    answers: usize,
}

/// Switches the guard on, and scales to 0 while others call the pods. Stored counts from before are kept by it, too.
async fn keeps_its_pods(fixture: &Fixture, mode: &str) -> Result<Kept> {
    fixture.install(&fixture.next_image, &["--set-string", &format!("guard.mode={mode}")]).await?;
    let mut session = fixture.session().await?;
    let answer = session.wait_for(GUARDED, "a guard", |answer| answer.guarded).await?;

    let before = pods(fixture).await?;
    ensure!(before.len() == REPLICAS as usize, "there are {} pods", before.len());
    let mut observer = Observer::start(fixture.deployments(), GUARDED).await?;
    let address = fixture.port_forward_to(APPS, GUARDED, PORT).await?;
    eventually("the pods answer", async || {
        ensure!(Reader::new(address.address).call().await?, "no answer");
        Ok(())
    })
    .await?;
    let load = Load::start((0..CALLERS).map(|_| Reader::new(address.address)), REQUESTS_PER_SECOND);
    load.wait_for_answers(WARM_UP).await?;
    let scale = ["kubectl", "scale", "deployment", GUARDED, "--namespace", APPS, "--replicas", "0"];
    let refused = fixture.programs.run(scale).await.err();
    time::sleep(WATCHED).await;
    observer.expect_unchanged(WATCHED)?;
    let (readers, answers) = load.stop().await?;
    let unanswered: usize = readers.iter().map(|reader| reader.unanswered).sum();
    ensure!(pods(fixture).await? == before, "pods were lost");
    ensure!(unanswered == 0, "{unanswered} requests to the pods had no answer, {} had one", answers.len());
    match (answer.guard(), &refused) {
        (GuardState::GuardCorrects, None) if mode == "auto" => {}
        (GuardState::GuardDenies, Some(error)) if mode == "deny" => {
            let text = format!("{error:#}");
            ensure!(text.contains("kept at 3"), "kubectl does not say why: {text}");
        }
        (state, _) => bail!("with {state:?}, kubectl scale ended with {refused:?}"),
    }
    Ok(Kept { state: answer.guard(), answers: answers.len() })
}

/// Sets another count, and returns how long the cluster took to have it.
async fn new_count(fixture: &Fixture, name: &str) -> Result<time::Duration> {
    let mut session = fixture.session().await?;
    let mut observer = Observer::start(fixture.deployments(), name).await?;
    let started = Instant::now();
    session.set(name, REPLICAS - 1).await?;
    let at = observer.wait_for(REPLICAS - 1).await.context("a Set was not written")?;
    Ok(at.duration_since(started))
}

/// Deletes the settings of all Deployments and waits until their guard is gone, then restores
/// those of Deployments that exist.
async fn forget_and_restore(fixture: &Fixture) -> Result<()> {
    let mut session = fixture.session().await?;
    let settings = session.settings().await?;
    for setting in &settings {
        session.delete_setting(&setting.name).await?;
    }
    eventually("the guard is gone", async || {
        let get = ["kubectl", "get", "replicaguards", "--namespace", APPS, "--output", "name"];
        let guards = fixture.programs.run(get).await?;
        ensure!(guards.is_empty(), "it is still there: {guards}");
        Ok(())
    })
    .await?;
    let mut existing = Vec::new();
    for Setting { name, desired, .. } in &settings {
        if fixture.deployments().get_opt(name).await?.is_some() {
            session.set(name, desired.context("a setting has a count")?).await?;
            existing.push(name);
        }
    }
    for name in existing {
        session.wait_for(name, "a guard", |answer| answer.guarded).await?;
    }
    Ok(())
}

/// The running pods of the guarded Deployment.
async fn pods(fixture: &Fixture) -> Result<BTreeSet<String>> {
    let labels = ListParams::default().labels("app=guarded");
    let pods = Api::<Pod>::namespaced(fixture.kubernetes.clone(), APPS).list(&labels).await?;
    let is_running = |pod: &&Pod| pod.metadata.deletion_timestamp.is_none();
    Ok(pods.iter().filter(is_running).map(|pod| pod.uid().unwrap_or_default()).collect())
}
