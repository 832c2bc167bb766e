//! How soon after an acknowledged Set the API server keeps the new count, as another client sees it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use kube::Client;
use replica_count_api::proto::SetDeploymentRequest;
use replica_count_testbed::Manager;
use serde_json::{Map, Value, json};
use tokio::time;

use super::{Plan, REPLICAS};
use crate::fleet::Fleet;
use crate::latencies::Latencies;
use crate::policies;
use crate::progress::Progress;
use crate::table::{Goal, Row, Unit};

/// The limits of the 99th percentile in the two namespaces, in milliseconds.
const GOALS_MS: [f64; 2] = [250.0, 1_000.0];

/// How long it may take at most.
const DEADLINE: Duration = Duration::from_mins(1);
/// Between two trials. Each takes some milliseconds.
const POLL: Duration = Duration::from_millis(1);

/// Measures in one namespace after the other, with one Set at a time.
pub(super) async fn measure(plan: &Plan, client: &Client, manager: &Manager) -> Result<(Vec<Row>, Value)> {
    let (mut rows, mut details) = (Vec::new(), Map::new());
    for (fleet, goal) in plan.fleets().iter().zip(GOALS_MS) {
        let latencies = in_fleet(plan.sets, fleet, client, manager).await?;
        let what = format!("guard: Set to in force among {} targets", fleet.size);
        rows.push(Row::new(format!("{what}, p50"), Unit::Milliseconds, latencies.percentile_ms(50)));
        let slow = Row::new(format!("{what}, p99"), Unit::Milliseconds, latencies.percentile_ms(99));
        rows.push(slow.judged_by(Goal::Below(goal)));
        details.insert(format!("among_{}_ms", fleet.size), json!(latencies.to_ms()));
    }
    Ok((rows, details.into()))
}

async fn in_fleet(sets: usize, fleet: &Fleet, client: &Client, manager: &Manager) -> Result<Latencies> {
    ensure!(sets < fleet.size, "each target is set once, and the last one never");
    let mut service = manager.client().await?;
    let mut latencies = Latencies::default();
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
        while policies::kept(client, fleet.namespace, &name).await? != Some((REPLICAS + 1).into()) {
            ensure!(acknowledged.elapsed() < DEADLINE, "{name} was not guarded within {DEADLINE:?}");
            time::sleep(POLL).await;
        }
        latencies.push(acknowledged.elapsed());
        progress.advance();
    }
    progress.finish();
    Ok(latencies)
}
