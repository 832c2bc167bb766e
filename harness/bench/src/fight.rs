//! Measures repair times while somebody keeps changing the count of one other Deployment, compared with repair times
//! without that.
//!
//! Blocks with and without the conflict alternate, so disturbances of the machine affect both.

use std::num::NonZeroUsize;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use replica_count_testbed::ControlPlane;
use replica_count_testbed::control_plane::Options;
use serde_json::json;
use tokio::time;

use crate::drift::DESIRED;
use crate::drift::observer::Observer;
use crate::drift::rounds::{self, Rounds};
use crate::fleet::Fleet;
use crate::latencies::Latencies;
use crate::progress::Progress;
use crate::results::Outcome;
use crate::server;
use crate::table::{Goal, Rival, Row, Unit};

/// The namespace of the contested Deployment.
const CONTESTED: &str = "contested";

/// The interval of the changes: 50 a second.
const PAUSE: Duration = Duration::from_millis(20);

/// The allowed ratio of the 99th percentile to that without a conflict.
const GOAL: f64 = 2.0;

/// The amount of measurements.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    deployments: usize,
    /// Rounds with the conflict, and as many without.
    rounds: usize,
    block: usize,
    /// Rounds that are not measured.
    warm_up: usize,
}

impl Plan {
    const FULL: Self = Self { deployments: 200, rounds: 400, block: 50, warm_up: 50 };
    const SHORT: Self = Self { deployments: 20, rounds: 20, block: 5, warm_up: 2 };

    /// The full or the short plan, with a different number of rounds if given.
    pub(crate) fn new(rounds: Option<NonZeroUsize>, short: bool) -> Self {
        let plan = if short { Self::SHORT } else { Self::FULL };
        let rounds = rounds.map_or(plan.rounds, NonZeroUsize::get);
        let deployments = plan.deployments.max(rounds::fewest_deployments(plan.warm_up + 2 * rounds));
        Self { deployments, rounds, ..plan }
    }
}

pub(crate) async fn measure(plan: &Plan) -> Result<Outcome> {
    let mut control_plane = ControlPlane::start(Options::beside_this_program()?).await?;
    let ours = Fleet { namespace: "ours", size: plan.deployments, replicas: DESIRED };
    let contested = Fleet { namespace: CONTESTED, size: 1, replicas: DESIRED };
    ours.create(&control_plane).await?;
    contested.create(&control_plane).await?;
    let mut manager = server::start(&control_plane).await?;
    server::manage(&manager, &ours, ours.size).await?;
    server::manage(&manager, &contested, contested.size).await?;

    let opponent = Opponent::new(&control_plane.client_as("opponent").await?, &contested);
    let mut observer = Observer::start(&control_plane, ours.size + contested.size, Some(CONTESTED)).await?;
    let drifter = control_plane.client_as("drifter").await?;
    let mut rounds = Rounds::new(ours.clone(), ours.size, &drifter);
    rounds.play(plan.warm_up, &mut observer, || ()).await?;
    let (mut without, mut during, mut changes) = (Latencies::default(), Latencies::default(), 0);
    let mut progress =
        Progress::new("rounds of drift and repair, with and without a conflict", 2 * plan.rounds);
    for length in rounds::blocks(plan.rounds, plan.block) {
        without.extend(&rounds.play(length, &mut observer, || progress.advance()).await?);
        let block = rounds.play(length, &mut observer, || progress.advance());
        let block = tokio::select! {
            block = block => block?,
            error = opponent.fight(&mut changes) => return Err(error),
        };
        during.extend(&block);
    }
    progress.finish();
    manager.check_alive()?;
    control_plane.check_alive()?;

    let row = |what, percent| {
        let [ours, limit] = [&during, &without].map(|latencies| latencies.percentile_ms(percent));
        Row::new(what, Unit::Milliseconds, ours).beside(Rival::Limit, limit)
    };
    let rows = vec![
        row("fight: others, seen to repaired, p50", 50),
        row("fight: others, seen to repaired, p99", 99).judged_by(Goal::RatioAtMost(Rival::Limit, GOAL)),
    ];
    let details = json!({
        "deployments": plan.deployments,
        "changes": changes,
        "during_ms": during.to_ms(),
        "without_ms": without.to_ms(),
    });
    Ok(Outcome { name: "fight", rows, kubernetes: drifter.apiserver_version().await?.git_version, details })
}

/// Keeps changing the count.
struct Opponent {
    api: Api<Deployment>,
    name: String,
}

impl Opponent {
    fn new(client: &Client, contested: &Fleet) -> Self {
        Self { api: Api::namespaced(client.clone(), contested.namespace), name: contested.name(0) }
    }

    /// Changes the count until an error occurs, or until dropped.
    async fn fight(&self, changes: &mut usize) -> anyhow::Error {
        let mut ticks = time::interval(PAUSE);
        loop {
            ticks.tick().await;
            // Never the same count twice in a row, and never the desired one.
            let patch = Patch::Merge(json!({ "spec": { "replicas": 5 + *changes % 2 } }));
            let changed = self.api.patch_scale(&self.name, &PatchParams::apply("opponent"), &patch).await;
            match changed.context("cannot change the contested count") {
                Ok(_) => *changes += 1,
                Err(error) => return error,
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_deployment_drifts_often_enough_to_be_contested() {
        for (rounds, expected) in [(400, 200), (975, 200), (976, 201), (20_000, 4_005)] {
            assert_eq!(Plan::new(NonZeroUsize::new(rounds), false).deployments, expected, "{rounds}");
        }
    }
}
