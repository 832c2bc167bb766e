//! Measures durable Sets with `--store=crd`, compared with bare writes of the same objects on the same API server.
//!
//! One client and a bare loop take turns with each request, so noise reaches both. Both write objects of the same size that
//! nobody else reads, in namespaces of their own.

mod drifts;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use futures_util::future;
use http::{Request, header};
use kube::Client;
use replica_count_api::proto::SetDeploymentRequest;
use replica_count_testbed::control_plane::{Options, Scope};
use replica_count_testbed::{ControlPlane, Manager, manager};
use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::latencies::{Latencies, median};
use crate::load::{Answered, Call, Load};
use crate::progress::Progress;
use crate::results::Outcome;
use crate::server;
use crate::table::{Goal, Rival, Row, Unit};

/// The limit of a Set, as a multiple of the bare write.
const GOAL_RATIO: f64 = 1.10;
/// The limit of a drift, as a multiple of one with the settings file.
const GOAL_DRIFT: f64 = 1.05;
/// The required share of the best rate of bare writes.
const GOAL_MANY: f64 = 0.9;
/// The clients of "many", and the numbers of bare writes at once, of which the best counts.
const MANY: usize = 64;
const BARE: [usize; 2] = [16, MANY];
/// The Deployments, and with them the objects.
const DEPLOYMENTS: usize = 100;
/// The name of the Lease.
const LEASE: &str = "manager";
/// The namespace of the objects of bare writes.
const BARE_NAMESPACE: &str = "bare";

/// The amount of measurements.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Requests of one client that count.
    requests: usize,
    /// Drifts with each store that count.
    drifts: usize,
    /// Turns of many clients, and the length of each.
    turns: usize,
    turn: Duration,
}

impl Plan {
    pub(crate) const FULL: Self =
        Self { requests: 1_000, drifts: 500, turns: 5, turn: Duration::from_secs(2) };
    pub(crate) const SHORT: Self =
        Self { requests: 5, drifts: 5, turns: 1, turn: Duration::from_millis(100) };
}

pub(crate) async fn measure(plan: &Plan) -> Result<Outcome> {
    let control_plane = ControlPlane::start(Options::beside_this_program()?).await?;
    control_plane.install_replica_counts().await?;
    let fleet = Fleet { namespace: "storefront", size: DEPLOYMENTS, replicas: 3 };
    fleet.create(&control_plane).await?;
    let server = start(&control_plane, &fleet).await?;
    server::manage(&server, &fleet, DEPLOYMENTS).await?;
    control_plane.create_namespace(BARE_NAMESPACE).await?;
    let client = control_plane.admin().await?;
    let mut bare = Vec::new();
    for number in 0..DEPLOYMENTS {
        bare.push(BareObject::create(&client, fleet.name(number), &fleet).await?);
    }
    let (sets, puts) = one(plan, &server, &client, &fleet, &mut bare).await?;
    let (rates, bare_rates) = many(plan, &server, &client, &fleet, &mut bare).await?;
    let [drifts, drifts_with_file] = drifts::measure(plan.drifts, &control_plane, &fleet).await?;
    let (set_ms, put_ms) = (sets.percentile_ms(50), puts.percentile_ms(50));
    let best = bare_rates.iter().map(|rates| median(rates)).fold(0.0, f64::max);
    let rows = vec![
        Row::new("crd: Set, p50", Unit::Milliseconds, set_ms)
            .beside(Rival::Limit, put_ms)
            .between(Rival::Limit, sets.ratio_interval(&puts, 50))
            .judged_by(Goal::RatioAtMost(Rival::Limit, GOAL_RATIO)),
        Row::new("crd: Sets by 64 clients", Unit::PerSecond, median(&rates))
            .beside(Rival::Limit, best)
            .judged_by(Goal::RatioAtLeast(Rival::Limit, GOAL_MANY)),
        Row::new("crd: drift, p50, beside the file", Unit::Milliseconds, drifts.percentile_ms(50))
            .beside(Rival::Limit, drifts_with_file.percentile_ms(50))
            .between(Rival::Limit, drifts.ratio_interval(&drifts_with_file, 50))
            .judged_by(Goal::RatioAtMost(Rival::Limit, GOAL_DRIFT)),
    ];
    let details = json!({
        "one_client_ms": sets.to_ms(), "bare_ms": puts.to_ms(),
        "drift_ms": drifts.to_ms(), "drift_with_file_ms": drifts_with_file.to_ms(),
        "clients": MANY, "sets_per_second": rates, "bare_at_once": BARE, "bare_per_second": bare_rates,
    });
    let kubernetes = client.apiserver_version().await?.git_version;
    Ok(Outcome { name: "crd", rows, kubernetes, details })
}

async fn start(control_plane: &ControlPlane, fleet: &Fleet) -> Result<Manager> {
    control_plane.create_released_lease(fleet.namespace, LEASE).await?;
    let options = server::options(control_plane, &Scope::Cluster).await?;
    let namespace = fleet.namespace;
    let flags =
        ["--store", "crd", "--namespace", namespace, "--lease-namespace", namespace, "--lease-name", LEASE];
    let options = flags.into_iter().fold(options, manager::Options::argument);
    let mut server = Manager::start(&options).await?;
    server.wait_ready().await?;
    Ok(server)
}

/// The latencies of one client's Sets and of bare writes, which take turns.
async fn one(
    plan: &Plan,
    server: &Manager,
    client: &Client,
    fleet: &Fleet,
    bare: &mut [BareObject],
) -> Result<(Latencies, Latencies)> {
    let mut set_client = server.client().await?;
    let (mut sets, mut puts) = (Latencies::default(), Latencies::default());
    let warm_up = plan.requests.div_ceil(10);
    let mut progress = Progress::new("Sets of one client, and bare writes", warm_up + plan.requests);
    for round in 0..warm_up + plan.requests {
        let number = round % DEPLOYMENTS;
        let (mut set, mut put) = (Duration::ZERO, Duration::ZERO);
        for turn in 0..2 {
            let started = Instant::now();
            if turn == round % 2 {
                let request = SetDeploymentRequest {
                    name: fleet.name(number),
                    namespace: fleet.namespace.to_owned(),
                    replicas: Some(fleet.replicas),
                    ..SetDeploymentRequest::default()
                };
                set_client.set_deployment(request).await.context("SetDeployment failed")?;
                set = started.elapsed();
            } else {
                bare[number].put(client).await?;
                put = started.elapsed();
            }
        }
        if round >= warm_up {
            sets.push(set);
            puts.push(put);
        }
        progress.advance();
    }
    progress.finish();
    Ok((sets, puts))
}

/// The Sets per second of many clients, and bare writes per second, by turn.
async fn many(
    plan: &Plan,
    server: &Manager,
    client: &Client,
    fleet: &Fleet,
    bare: &mut [BareObject],
) -> Result<(Vec<f64>, [Vec<f64>; BARE.len()])> {
    let load = Load::connect(server.grpc_address(), server.certificates(), MANY, 1).await?;
    let (mut rates, mut bare_rates) = (Vec::new(), [const { Vec::new() }; BARE.len()]);
    let mut progress = Progress::new("turns of 64 clients", plan.turns + 1);
    for turn in 0..=plan.turns {
        let Answered { latencies, took } = load.run(Call::Set, fleet, plan.turn).await?;
        let rate = per_second(latencies.len(), took)?;
        for (at_once, bare_rates) in BARE.into_iter().zip(&mut bare_rates) {
            let bare_rate = put_all(client, &mut bare[..at_once], plan.turn).await?;
            bare_rates.extend((turn > 0).then_some(bare_rate));
        }
        rates.extend((turn > 0).then_some(rate));
        progress.advance();
    }
    progress.finish();
    Ok((rates, bare_rates))
}

/// Writes each object again and again, all at once; returns how many writes there were in a second.
async fn put_all(client: &Client, objects: &mut [BareObject], duration: Duration) -> Result<f64> {
    let started = Instant::now();
    let puts = objects.iter_mut().map(async |object| {
        let mut count = 0;
        while started.elapsed() < duration {
            object.put(client).await?;
            count += 1;
        }
        Ok::<usize, anyhow::Error>(count)
    });
    let counts = future::try_join_all(puts).await?;
    per_second(counts.into_iter().sum(), started.elapsed())
}

/// An object like those of the server, which it does not watch.
struct BareObject {
    path: String,
    /// As the API server has answered last.
    object: Value,
    round: u64,
}

impl BareObject {
    async fn create(client: &Client, name: String, fleet: &Fleet) -> Result<Self> {
        let folder = format!("/apis/replicacount.dev/v1alpha1/namespaces/{BARE_NAMESPACE}/replicacounts");
        let object = json!({
            "apiVersion": "replicacount.dev/v1alpha1",
            "kind": "ReplicaCount",
            "metadata": {
                "name": name,
                "annotations": {
                    "replicacount.dev/set-by": "client",
                    "replicacount.dev/set-at": "2026-01-02T03:04:05.123456789Z",
                    "replicacount.dev/set-generation": "1",
                },
            },
            "spec": { "replicas": fleet.replicas },
        });
        let request = Request::post(&folder)
            .header(header::CONTENT_TYPE, "application/json")
            .body(object.to_string().into_bytes())?;
        let object = client.request(request).await.context("a bare object was not created")?;
        Ok(Self { path: format!("{folder}/{name}"), object, round: 0 })
    }

    /// Replaces it, if it has still the version of the last answer, with another time.
    async fn put(&mut self, client: &Client) -> Result<()> {
        self.round += 1;
        let at = format!("2026-01-02T03:04:05.{:09}Z", self.round);
        self.object["metadata"]["annotations"]["replicacount.dev/set-at"] = at.into();
        let request = Request::put(&self.path)
            .header(header::CONTENT_TYPE, "application/json")
            .body(self.object.to_string().into_bytes())?;
        self.object = client.request(request).await.context("a bare write failed")?;
        Ok(())
    }
}

fn per_second(count: usize, took: Duration) -> Result<f64> {
    Ok(f64::from(u32::try_from(count)?) / took.as_secs_f64())
}
