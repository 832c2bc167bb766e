//! How long a drift lives: the server against a bare loop, in turns.
//!
//! Each contestant minds Deployments of its own, in one cluster. Both run and see all events all the time, so neither has
//! to be stopped while it is the other's turn, and both do the same work of telling their events from the others'.

pub(crate) mod bare_loop;
pub(crate) mod observer;
pub(crate) mod rounds;
mod watch;

use std::num::NonZeroUsize;

use anyhow::Result;
use bare_loop::BareLoop;
use observer::Observer;
use replica_count_testbed::ControlPlane;
use replica_count_testbed::control_plane::{Options, Scope};
use rounds::Rounds;
use serde_json::{Value, json};

use crate::fleet::Fleet;
use crate::latencies::Latencies;
use crate::progress::Progress;
use crate::results::Outcome;
use crate::server;
use crate::table::{Goal, Rival, Row, Unit};

/// The count that both contestants hold.
pub(crate) const DESIRED: i32 = 3;

/// The count that everything drifts to.
const DRIFTED: i32 = 7;

/// The most that the median may be, in medians of the bare loop.
const GOAL: f64 = 1.5;

/// How often one Deployment may drift: the server answers a fight ever more slowly, and this must not look like one.
const DRIFTS: usize = 10;

/// How much is measured.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Deployments for each contestant.
    pub(crate) deployments: usize,
    /// Rounds for each contestant.
    pub(crate) rounds: usize,
    /// Rounds in a block, after which it is the other's turn.
    pub(crate) block: usize,
    /// Rounds for each contestant that do not count.
    pub(crate) warm_up: usize,
}

impl Plan {
    const FULL: Self = Self { deployments: 200, rounds: 400, block: 50, warm_up: 50 };
    const SHORT: Self = Self { deployments: 20, rounds: 20, block: 5, warm_up: 2 };

    /// The full or the short plan, with another number of rounds if one is given.
    pub(crate) fn new(rounds: Option<NonZeroUsize>, short: bool) -> Self {
        let plan = if short { Self::SHORT } else { Self::FULL };
        let rounds = rounds.map_or(plan.rounds, NonZeroUsize::get);
        Self { rounds, deployments: plan.deployments.max(rounds.div_ceil(DRIFTS)), ..plan }
    }

    /// The lengths of the blocks of one contestant.
    pub(crate) fn blocks(&self) -> impl Iterator<Item = usize> {
        (0..self.rounds).step_by(self.block).map(|done| self.block.min(self.rounds - done))
    }
}

/// What was measured of one contestant.
#[derive(Debug, Default)]
struct Score {
    all: Latencies,
    block_p50_ms: Vec<f64>,
}

impl Score {
    fn add(&mut self, block: &Latencies) {
        self.all.extend(block);
        self.block_p50_ms.push(block.percentile_ms(50));
    }

    fn details(&self) -> Value {
        json!({
            "p50_ms": self.all.percentile_ms(50),
            "p90_ms": self.all.percentile_ms(90),
            "p99_ms": self.all.percentile_ms(99),
            "max_ms": self.all.percentile_ms(100),
            "block_p50_ms": self.block_p50_ms,
            "rounds_ms": self.all.to_ms(),
        })
    }
}

/// Measures.
pub(crate) async fn measure(plan: &Plan) -> Result<Outcome> {
    let mut control_plane = ControlPlane::start(Options::beside_this_program()?).await?;
    let fleet = |namespace| Fleet { namespace, size: plan.deployments, replicas: DESIRED };
    let (ours, bare) = (fleet("ours"), fleet("bare"));
    ours.create(&control_plane).await?;
    bare.create(&control_plane).await?;
    let mut manager = server::start(&control_plane).await?;
    server::manage(&manager, &ours, ours.size).await?;
    // The same identity, so that neither is treated better by the API server.
    let kubeconfig = control_plane.manager_kubeconfig(&Scope::Cluster).await?;
    let _bare_loop = BareLoop::start(&kubeconfig, &bare)?;

    let drifter = control_plane.client_as("drifter").await?;
    let mut observer = Observer::start(&control_plane, 2 * plan.deployments, None).await?;
    let scores = play(plan, &mut observer, Rounds::new(ours, &drifter), Rounds::new(bare, &drifter)).await;
    // Their death would be the better explanation of a failed round.
    manager.check_alive()?;
    control_plane.check_alive()?;
    let kubernetes = drifter.apiserver_version().await?.git_version;
    let (ours, bare) = scores?;
    Ok(outcome(plan, &ours, &bare, kubernetes))
}

async fn play(
    plan: &Plan,
    observer: &mut Observer,
    mut ours: Rounds,
    mut bare: Rounds,
) -> Result<(Score, Score)> {
    ours.play(plan.warm_up, observer, || ()).await?;
    bare.play(plan.warm_up, observer, || ()).await?;
    let (mut our_score, mut bare_score) = (Score::default(), Score::default());
    let mut progress = Progress::new("rounds of drift and repair, in turns", 2 * plan.rounds);
    for length in plan.blocks() {
        our_score.add(&ours.play(length, observer, || progress.advance()).await?);
        bare_score.add(&bare.play(length, observer, || progress.advance()).await?);
    }
    progress.finish();
    Ok((our_score, bare_score))
}

fn outcome(plan: &Plan, ours: &Score, bare: &Score, kubernetes: String) -> Outcome {
    let row = |what, percent| {
        let [ours, limit] = [ours, bare].map(|score| score.all.percentile_ms(percent));
        Row::new(what, Unit::Milliseconds, ours).beside(Rival::Limit, limit)
    };
    let rows = vec![
        row("drift: seen to repaired, p50", 50).judged_by(Goal::RatioAtMost(Rival::Limit, GOAL)),
        row("drift: seen to repaired, p99", 99),
    ];
    let details = json!({
        "deployments_each": plan.deployments,
        "rounds_each": plan.rounds,
        "rounds_a_block": plan.block,
        "ours": ours.details(),
        "limit": bare.details(),
    });
    Outcome { name: "drift", rows, kubernetes, details }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_add_up_to_the_rounds() {
        let cases: [(usize, &[usize]); 4] = [(120, &[50, 50, 20]), (100, &[50, 50]), (7, &[7]), (50, &[50])];
        for (rounds, expected) in cases {
            let plan = Plan::new(NonZeroUsize::new(rounds), false);
            assert_eq!(plan.blocks().collect::<Vec<_>>(), expected, "{rounds}");
        }
    }

    #[test]
    fn no_deployment_drifts_so_often_that_it_looks_like_a_fight() {
        for (rounds, expected) in [(400, 200), (2_000, 200), (2_001, 201), (20_000, 2_000)] {
            assert_eq!(Plan::new(NonZeroUsize::new(rounds), false).deployments, expected, "{rounds}");
        }
    }
}
