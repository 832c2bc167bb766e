//! How soon after a start all of many namespaces are guarded, each with one target.

use std::fs;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::core::v1::Namespace;
use kube::Client;
use kube::api::{Api, PostParams};
use replica_count_testbed::{Manager, manager};
use serde_json::{Value, json};

use super::{Plan, REPLICAS, Site};
use crate::progress::Progress;
use crate::table::{Row, Unit};
use crate::{policies, sample, server};

/// A guard of its own, so nothing else is guarded.
const NAME: &str = "many-namespaces";
const TARGET: &str = "web";
/// The number of concurrent requests.
const CONCURRENCY: usize = 16;

/// Measures a first start, which makes all guards, and a second one, which finds them.
pub(super) async fn measure(plan: &Plan, site: &Site) -> Result<(Vec<Row>, Value)> {
    let Site { control_plane, client } = site;
    let count = plan.namespaces;
    control_plane.install_guard(NAME).await?;
    create(client, count).await?;
    let options = server::guarding(control_plane, "correct", NAME).await?;
    let setting = |number| json!({ "name": TARGET, "namespace": namespace(number), "replicas": REPLICAS });
    fs::write(options.store(), serde_json::to_vec(&(0..count).map(setting).collect::<Vec<_>>())?)?;
    options.certificates()?;
    let (mut rows, mut seconds) = (Vec::new(), Vec::new());
    for what in ["first start", "next start"] {
        let took = start(&options, client, count).await?;
        rows.push(Row::new(
            format!("guard: {count} namespaces, {what} to all in force"),
            Unit::Seconds,
            took,
        ));
        seconds.push(took);
    }
    Ok((rows, json!({ "namespaces": count, "first_and_next_start_s": seconds })))
}

/// Starts the server until all are guarded; returns how many seconds that took, and ends it.
async fn start(options: &manager::Options, client: &Client, count: usize) -> Result<f64> {
    let started = Instant::now();
    let manager = Manager::start(options).await?;
    server::wait_until_guarded(&manager, count).await?;
    let took = started.elapsed();
    // The metric is the word of the server.
    let kept = async |number| policies::kept(client, &namespace(number), TARGET).await;
    let kept: Vec<_> = stream::iter(0..count).map(kept).buffer_unordered(CONCURRENCY).try_collect().await?;
    let others = kept.iter().filter(|kept| **kept != Some(REPLICAS.into())).count();
    ensure!(others == 0, "{others} of {count} are not guarded, although the server says so");
    manager.kill()?;
    Ok(took.as_secs_f64())
}

async fn create(client: &Client, count: usize) -> Result<()> {
    let mut progress = Progress::new(format!("creating {count} namespaces"), count);
    let create = async |number| {
        let object =
            serde_json::from_value::<Namespace>(json!({ "metadata": { "name": namespace(number) } }))?;
        let created = Api::all(client.clone()).create(&PostParams::default(), &object).await;
        created.context("cannot create a namespace")?;
        let deployments = Api::namespaced(client.clone(), &namespace(number));
        deployments.create(&PostParams::default(), &sample::deployment(TARGET, REPLICAS)?).await?;
        anyhow::Ok(())
    };
    let mut created = std::pin::pin!(stream::iter(0..count).map(create).buffer_unordered(CONCURRENCY));
    while let Some(()) = created.try_next().await? {
        progress.advance();
    }
    progress.finish();
    Ok(())
}

fn namespace(number: usize) -> String {
    format!("team-{number:04}")
}
