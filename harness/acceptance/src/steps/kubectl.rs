//! `kubectl replicas` finds the server by itself, and `watch` goes on after the server's pod is killed.

use std::fs::{self, File};
use std::path::Path;

use anyhow::{Result, bail, ensure};
use kube::ResourceExt as _;

use super::{Step, passed};
use crate::eventually::eventually;
use crate::fixture::{APPS, Fixture, NAME};
use crate::table::Outcome;

/// The Deployment of this step.
const WEB: &str = "plugin";

pub(super) const STEP: Step = Step {
    name: "kubectl",
    about: "kubectl replicas, through the API server and with the Secret of the chart, while the pod is killed",
    run: |fixture| Box::pin(run(fixture)),
};

async fn run(fixture: &Fixture) -> Result<Outcome> {
    fixture.application(WEB, 1).await?;
    let folder = fixture.folder("kubectl")?;
    let events = folder.join("events");
    let words = ["kubectl", "replicas", "watch", WEB, "-n", APPS, "-o", "json"];
    let mut watch = fixture.programs.command(&folder, words);
    let mut watch = watch.stdout(File::create(&events)?).stderr(File::create(folder.join("log"))?).spawn()?;
    wait_for_set(fixture, &events).await?;

    let pod = fixture.pod().await?;
    let (namespace, name) = (format!("--namespace={NAME}"), pod.name_any());
    fixture
        .programs
        .run(["kubectl", "delete", "pod", &namespace, "--force", "--grace-period=0", &name])
        .await?;
    let pod = fixture.pod_after(&pod).await?;
    fs::write(&events, "")?;
    wait_for_set(fixture, &events).await?;
    let log = fs::read_to_string(folder.join("log"))?;
    ensure!(log.contains("watching again"), "the stream did not end: {log}");
    watch.kill().await?;

    let status = fixture.programs.run(["kubectl", "replicas", "status"]).await?;
    ensure!(status.contains(&pod.name_any()) && status.contains("Serves:        yes"), "{status}");
    fixture.programs.run(["kubectl", "replicas", "delete", WEB, "-n", APPS]).await?;
    Ok(passed("it finds the server, and watch goes on with the pod that replaces a killed one"))
}

/// Sets counts until the watch shows one.
async fn wait_for_set(fixture: &Fixture, events: &Path) -> Result<()> {
    let mut count = 1;
    eventually("the watch shows a change", async || {
        count = 3 - count;
        let set = ["kubectl", "replicas", "set", WEB, &count.to_string(), "-n", APPS];
        fixture.programs.run(set).await?;
        let shown = fs::read_to_string(events)?;
        if !shown.contains("\"type\":\"set\"") {
            bail!("it shows: {shown}");
        }
        Ok(())
    })
    .await
}
