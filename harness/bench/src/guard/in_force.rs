//! How soon after an acknowledged Set the API server keeps the new count, as another client sees it.
//!
//! The limit is a client that writes the same guard itself, at once, to another API server. Both take turns.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use http::{Request, header};
use kube::Client;
use replica_count_api::proto::SetDeploymentRequest;
use replica_count_testbed::Manager;
use serde_json::{Map, Value, json};
use tokio::time;

use super::{NAME, Plan, REPLICAS, Site};
use crate::fleet::Fleet;
use crate::latencies::Latencies;
use crate::policies;
use crate::progress::Progress;
use crate::table::{Goal, Rival, Row, Unit};

/// The limits of the 99th percentile in the two namespaces, in milliseconds.
const GOALS_MS: [f64; 2] = [250.0, 1_000.0];

/// How long it may take at most.
const DEADLINE: Duration = Duration::from_mins(1);
/// Between two trials. Each takes some milliseconds.
const POLL: Duration = Duration::from_millis(1);

/// Measures in one namespace after the other, with one Set at a time. The server runs on the first of both.
pub(super) async fn measure(plan: &Plan, sites: &[Site; 2], manager: &Manager) -> Result<(Vec<Row>, Value)> {
    let (mut rows, mut details) = (Vec::new(), Map::new());
    for (fleet, goal) in plan.fleets().iter().zip(GOALS_MS) {
        let [ours, limit] = in_fleet(plan.sets, fleet, sites, manager).await?;
        let row = |percent: usize| {
            let what = format!("guard: Set to in force among {} targets, p{percent}", fleet.size);
            Row::new(what, Unit::Milliseconds, ours.percentile_ms(percent))
                .beside(Rival::Limit, limit.percentile_ms(percent))
                .between(Rival::Limit, ours.ratio_interval(&limit, percent))
        };
        rows.extend([row(50), row(99).judged_by(Goal::Below(goal))]);
        let samples = json!({ "ours_ms": ours.to_ms(), "limit_ms": limit.to_ms() });
        details.insert(format!("among_{}", fleet.size), samples);
    }
    Ok((rows, details.into()))
}

async fn in_fleet(
    sets: usize,
    fleet: &Fleet,
    sites: &[Site; 2],
    manager: &Manager,
) -> Result<[Latencies; 2]> {
    ensure!(sets < fleet.size, "each target is set once, and the last one never");
    let (mut service, mut guard) = (manager.client().await?, BareGuard::read(&sites[1].client, fleet).await?);
    let (mut ours, mut limit) = (Latencies::default(), Latencies::default());
    let mut progress = Progress::new(format!("Sets among {} targets", fleet.size), sets);
    for number in 0..sets {
        let name = fleet.name(number);
        let request = SetDeploymentRequest {
            name: name.clone(),
            namespace: fleet.namespace.to_owned(),
            replicas: Some(REPLICAS + 1),
            ..SetDeploymentRequest::default()
        };
        service.set_deployment(request).await.context("SetDeployment failed")?;
        let acknowledged = Instant::now();
        wait_until_in_force(&sites[0].client, fleet, &name).await?;
        ours.push(acknowledged.elapsed());
        let sent = Instant::now();
        guard.write(&name).await?;
        wait_until_in_force(&sites[1].client, fleet, &name).await?;
        limit.push(sent.elapsed());
        progress.advance();
    }
    progress.finish();
    Ok([ours, limit])
}

async fn wait_until_in_force(client: &Client, fleet: &Fleet, name: &str) -> Result<()> {
    let deadline = Instant::now() + DEADLINE;
    while policies::kept(client, fleet.namespace, name).await? != Some((REPLICAS + 1).into()) {
        ensure!(Instant::now() < deadline, "{name} was not guarded within {DEADLINE:?}");
        time::sleep(POLL).await;
    }
    Ok(())
}

/// The guard of a namespace, which a bare client writes as the server does.
struct BareGuard {
    client: Client,
    path: String,
    object: Value,
}

impl BareGuard {
    async fn read(client: &Client, fleet: &Fleet) -> Result<Self> {
        let namespace = fleet.namespace;
        let path = format!("/apis/replicacount.dev/v1alpha1/namespaces/{namespace}/replicaguards/{NAME}");
        let mut object: Value = client.request(Request::get(&path).body(Vec::new())?).await?;
        object["metadata"] = json!({ "name": NAME, "namespace": namespace });
        Ok(Self { client: client.clone(), path, object })
    }

    async fn write(&mut self, name: &str) -> Result<()> {
        self.object["spec"]["counts"][format!("deployments/{name}")]["replicas"] = json!(REPLICAS + 1);
        let path = format!("{}?fieldManager=replica-count-manager&force=true", self.path);
        let request = Request::patch(path)
            .header(header::CONTENT_TYPE, "application/apply-patch+yaml")
            .body(self.object.to_string().into_bytes())?;
        self.client.request_text(request).await.context("a guard was refused")?;
        Ok(())
    }
}
