//! Everything has drifted at once: how long until all of it is repaired, and what somebody who has nothing to do with it
//! sees of that.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Client;
use kube::api::{Api, ListParams, Patch, PatchParams};
use replica_count_testbed::control_plane::Options;
use replica_count_testbed::{ControlPlane, Manager};
use serde_json::{Value, json};
use tokio::time;

use crate::fleet::Fleet;
use crate::latencies::Latencies;
use crate::output::say_error;
use crate::results::Outcome;
use crate::server;
use crate::table::{Rival, Row, Unit};

/// The count that is desired, and the one that is found.
const DESIRED: i32 = 3;
const FOUND: i32 = 7;

/// From one request of the bystander to the next.
const PAUSE: Duration = Duration::from_millis(10);

/// Longer than any run.
const DEADLINE: Duration = Duration::from_mins(10);

/// How much is drifted, and how long the bystander is measured before.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    deployments: usize,
    before: Duration,
}

impl Plan {
    pub(crate) const FULL: Self = Self { deployments: 10_000, before: Duration::from_secs(20) };
    pub(crate) const SHORT: Self = Self { deployments: 100, before: Duration::from_secs(1) };
}

/// Measures.
pub(crate) async fn measure(plan: &Plan) -> Result<Outcome> {
    let control_plane = ControlPlane::start(Options::beside_this_program()?).await?;
    let admin = control_plane.admin().await?;
    let fleet = Fleet { namespace: "drifted", size: plan.deployments, replicas: FOUND };
    let other = Fleet { namespace: "bystander", size: 1, replicas: DESIRED };
    fleet.create(&control_plane).await?;
    other.create(&control_plane).await?;
    let options = server::options(&control_plane).await?;
    let settings: Vec<Value> = (0..fleet.size)
        .map(
            |number| json!({ "name": fleet.name(number), "namespace": fleet.namespace, "replicas": DESIRED }),
        )
        .collect();
    fs::write(options.store(), serde_json::to_string(&settings)?)?;

    let mut bystander = Bystander::new(&control_plane.client_as("bystander").await?, &other);
    say_error(&format!("the bystander alone, for {} s …", plan.before.as_secs()));
    let alone = bystander.go_on(time::sleep(plan.before)).await?.1;
    say_error(&format!("{} repairs …", fleet.size));
    let started = Instant::now();
    let mut manager = Manager::start(&options).await?;
    let (answered, during) = bystander.go_on(all_answered(&manager, fleet.size)).await?;
    answered?;
    let took = started.elapsed();
    manager.check_alive()?;
    check_complete(&admin, &fleet).await?;

    let row = |what, percent| {
        let [during, alone] = [&during, &alone].map(|latencies| latencies.percentile_ms(percent));
        Row::new(what, Unit::Milliseconds, during).beside(Rival::Limit, alone)
    };
    let rows = vec![
        Row::new("mass: start to the last repair", Unit::Seconds, took.as_secs_f64()),
        row("mass: a bystander's PATCH, p50", 50),
        row("mass: a bystander's PATCH, p99", 99),
    ];
    let details = json!({
        "deployments": fleet.size,
        "took_s": took.as_secs_f64(),
        "bystander_during_ms": during.to_ms(),
        "bystander_alone_ms": alone.to_ms(),
    });
    Ok(Outcome { name: "mass", rows, kubernetes: admin.apiserver_version().await?.git_version, details })
}

/// Waits until the server says that it was answered so many writes. Entries without a time are put back as settings.
async fn all_answered(manager: &Manager, writes: usize) -> Result<()> {
    const APPLIED: &str = "replica_count_manager_settings_applied_total ";
    let deadline = Instant::now() + DEADLINE;
    loop {
        let metrics = manager.metrics().await?;
        let applied =
            metrics.lines().find_map(|line| line.strip_prefix(APPLIED)?.trim().parse::<usize>().ok());
        let applied = applied.with_context(|| format!("/metrics has no {APPLIED}"))?;
        if applied >= writes {
            return Ok(());
        }
        ensure!(Instant::now() < deadline, "{applied} of {writes} writes within {DEADLINE:?}");
        time::sleep(PAUSE).await;
    }
}

/// Fails unless every Deployment has the desired count.
async fn check_complete(admin: &Client, fleet: &Fleet) -> Result<()> {
    let api: Api<Deployment> = Api::namespaced(admin.clone(), fleet.namespace);
    let all = api.list(&ListParams::default()).await?;
    let is_repaired = |deployment: &&Deployment| {
        deployment.spec.as_ref().is_some_and(|spec| spec.replicas == Some(DESIRED))
    };
    let repaired = all.items.iter().filter(is_repaired).count();
    ensure!(repaired == fleet.size, "{repaired} of {} Deployments are repaired", fleet.size);
    Ok(())
}

/// Somebody with a Deployment of their own, one request after the other.
struct Bystander {
    api: Api<Deployment>,
    name: String,
    requests: usize,
}

impl Bystander {
    fn new(client: &Client, own: &Fleet) -> Self {
        Self { api: Api::namespaced(client.clone(), own.namespace), name: own.name(0), requests: 0 }
    }

    /// Goes on until something else is over; returns what that says, and how long each request took.
    async fn go_on<T>(&mut self, over: impl Future<Output = T>) -> Result<(T, Latencies)> {
        let mut latencies = Latencies::default();
        tokio::pin!(over);
        loop {
            tokio::select! {
                said = &mut over => {
                    ensure!(latencies.len() > 0, "the bystander was not answered once");
                    return Ok((said, latencies));
                }
                took = self.request() => latencies.push(took?),
            }
        }
    }

    async fn request(&mut self) -> Result<Duration> {
        time::sleep(PAUSE).await;
        self.requests += 1;
        let patch =
            Patch::Merge(json!({ "metadata": { "annotations": { "requests": self.requests.to_string() } } }));
        let asked = Instant::now();
        self.api
            .patch(&self.name, &PatchParams::default(), &patch)
            .await
            .context("the bystander was refused")?;
        Ok(asked.elapsed())
    }
}
