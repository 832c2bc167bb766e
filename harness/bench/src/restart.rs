//! Measures the gap in enforcement when the process is restarted: from the SIGTERM to the first repair by the next
//! process, compared with a process that only reads all Deployments.

use std::time::Instant;

use anyhow::{Result, ensure};
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
    blocks: usize,
    /// The number of restarts in a block; contestants take turns by block.
    restarts: usize,
}

impl Plan {
    pub(crate) const FULL: Self = Self { deployments: 10_000, managed: 1_000, blocks: 3, restarts: 5 };
    pub(crate) const SHORT: Self = Self { deployments: 300, managed: 30, blocks: 1, restarts: 2 };
}

/// The results of one contestant.
#[derive(Debug, Default)]
struct Score {
    gaps: Latencies,
    /// The part of each gap until the old process had ended.
    ends: Latencies,
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

    let (mut limit, mut scores) = (Latencies::default(), Scores::of(contestants, Score::default));
    let mut progress = Progress::new("blocks of restarts, in turns", plan.blocks * (1 + contestants.len()));
    for _ in 0..plan.blocks {
        for _ in 0..plan.restarts {
            limit.push(drain::measure(&kubeconfig, ACCEPT).await?);
        }
        progress.advance();
        for (score, options) in scores.iter_mut().zip(&all_options) {
            block(plan, options, &mut last, score).await?;
            progress.advance();
        }
    }
    progress.finish();

    let what = format!("restart at {}: SIGTERM to the next repair", fleet.size);
    let row = scores.row(what, Unit::Milliseconds, |score| score.gaps.percentile_ms(50));
    let row = row
        .beside(Rival::Limit, limit.percentile_ms(50))
        .judged_by(Goal::RatioAtMost(Rival::Limit, 1.3))
        .judged_by(Goal::RatioAtMost(Rival::TunedGo, 0.5))
        .judged_by(Goal::RatioAtMost(Rival::Go, 0.5));
    let details = json!({
        "deployments": plan.deployments,
        "managed": plan.managed,
        "limit_ms": limit.to_ms(),
        "gaps_ms": scores.details(|score| score.gaps.to_ms()),
        "ends_ms": scores.details(|score| score.ends.to_ms()),
    });
    let kubernetes = control_plane.admin().await?.apiserver_version().await?.git_version;
    Ok(Outcome { name: "restart", rows: vec![row], kubernetes, details })
}

/// Restarts a process repeatedly.
async fn block(plan: &Plan, options: &manager::Options, last: &mut Last, score: &mut Score) -> Result<()> {
    let mut process = Manager::start(options).await?;
    for _ in 0..plan.restarts {
        process.wait_ready().await?;
        let signalled = Instant::now();
        let status = process.terminate().await?;
        ensure!(status.success(), "after SIGTERM, a process ended with {status}");
        score.ends.push(signalled.elapsed());
        // The next process is started before the drift occurs.
        let (next, drifted) = tokio::join!(Manager::start(options), last.drift());
        drifted?;
        score.gaps.push(last.repaired().await?.duration_since(signalled));
        process = next?;
    }
    process.kill()
}
