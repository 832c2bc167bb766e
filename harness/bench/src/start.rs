//! Measures the time from the start of the process to the repair of an existing drift, compared with only reading all
//! Deployments.

use std::time::{Duration, Instant};

use anyhow::Result;
use replica_count_testbed::control_plane::{Options, Scope};
use replica_count_testbed::{ControlPlane, Manager, manager};
use replica_count_wire::ACCEPT;
use serde_json::json;

use crate::contestant::{Contestant, Scores};
use crate::drain;
use crate::fleet::Fleet;
use crate::last::Last;
use crate::latencies::Latencies;
use crate::progress::Progress;
use crate::results::Outcome;
use crate::table::{Goal, Rival, Unit};

/// The size and the repetitions of the measurement.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    deployments: usize,
    managed: usize,
    rounds: usize,
}

impl Plan {
    pub(crate) const FULL: Self = Self { deployments: 100_000, managed: 200, rounds: 3 };
    pub(crate) const SHORT: Self = Self { deployments: 300, managed: 20, rounds: 1 };
}

/// Measures.
pub(crate) async fn measure(plan: &Plan, contestants: &[Contestant]) -> Result<Outcome> {
    let control_plane = ControlPlane::start(Options::beside_this_program()?).await?;
    let fleet = Fleet { namespace: "storefront", size: plan.deployments, replicas: 3 };
    fleet.create(&control_plane).await?;
    let kubeconfig = control_plane.manager_kubeconfig(&Scope::Cluster).await?;
    let mut all_options = Vec::new();
    for contestant in contestants {
        let options = contestant.options(&control_plane, &Scope::Cluster, &fleet, plan.managed).await?;
        all_options.push(options);
    }
    let mut last = Last::of(&control_plane, &fleet).await?;

    let mut limit = Latencies::default();
    let mut scores = Scores::of(contestants, Latencies::default);
    let mut progress = Progress::new("starts, in turns", plan.rounds * (1 + contestants.len()));
    // Warms up the API server.
    let limit_in_json = drain::measure(&kubeconfig, "application/json").await?;
    for _ in 0..plan.rounds {
        limit.push(drain::measure(&kubeconfig, ACCEPT).await?);
        progress.advance();
        for (score, options) in scores.iter_mut().zip(&all_options) {
            score.push(round(options, &mut last).await?);
            progress.advance();
        }
    }
    progress.finish();

    let median = |latencies: &Latencies| latencies.percentile_ms(50) / 1e3;
    let row =
        scores.row(format!("start at {}: to the repair of the last", fleet.size), Unit::Seconds, median);
    let row = row
        .beside(Rival::Limit, median(&limit))
        .judged_by(Goal::RatioAtMost(Rival::Limit, 1.2))
        .judged_by(Goal::RatioAtMost(Rival::TunedGo, 0.5));
    let details = json!({
        "deployments": plan.deployments,
        "managed": plan.managed,
        "limit_ms": limit.to_ms(),
        "limit_in_json_ms": limit_in_json.as_millis(),
        "start_ms": scores.details(Latencies::to_ms),
    });
    let kubernetes = control_plane.admin().await?.apiserver_version().await?.git_version;
    Ok(Outcome { name: "start", rows: vec![row], kubernetes, details })
}

/// Makes the last Deployment drift while no contestant runs, then starts one.
async fn round(options: &manager::Options, last: &mut Last) -> Result<Duration> {
    last.drift().await?;
    let started = Instant::now();
    let process = Manager::start(options).await?;
    let repaired = last.repaired().await?;
    process.kill()?;
    Ok(repaired.duration_since(started))
}
