//! How long a drift lives: the server, a bare loop and the Go operator, in turns.
//!
//! Only one of them runs at a time, as the others would see its events and take processor time from it. So each turn
//! is a life: it is started, warms up, plays a block of rounds on a quiet cluster and one among the events of others,
//! and ends. All of them mind the same Deployments.

pub(crate) mod bare_loop;
pub(crate) mod observer;
pub(crate) mod rounds;
mod score;
mod watch;

use std::num::NonZeroUsize;
use std::path::PathBuf;

use anyhow::{Result, ensure};
use bare_loop::BareLoop;
use observer::Observer;
use replica_count_testbed::control_plane::{Options, Scope};
use replica_count_testbed::{ControlPlane, Manager, manager};
use rounds::Rounds;
use score::{Board, Score};

use crate::contestant::Contestant;
use crate::fleet::Fleet;
use crate::progress::Progress;
use crate::results::Outcome;
use crate::unrelated::Unrelated;

/// The count that everybody holds.
pub(crate) const DESIRED: i32 = 3;

/// The count that everything drifts to.
const DRIFTED: i32 = 7;

/// How much is measured.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Deployments that drift, and as many that nobody minds.
    deployments: usize,
    /// Rounds of each contestant on a quiet cluster, and as many among the events of others.
    rounds: usize,
    /// Rounds of each kind in a turn. A server that sees a Deployment drift more than ten times takes it for a fight.
    block: usize,
    /// Rounds at the beginning of a turn that do not count.
    warm_up: usize,
}

impl Plan {
    const FULL: Self = Self { deployments: 200, rounds: 2_000, block: 250, warm_up: 50 };
    const SHORT: Self = Self { deployments: 20, rounds: 10, block: 5, warm_up: 2 };

    /// The full or the short plan, with another number of rounds if one is given.
    pub(crate) fn new(rounds: Option<NonZeroUsize>, short: bool) -> Self {
        let plan = if short { Self::SHORT } else { Self::FULL };
        Self { rounds: rounds.map_or(plan.rounds, NonZeroUsize::get), ..plan }
    }
}

/// Measures.
pub(crate) async fn measure(plan: &Plan, contestants: &[Contestant]) -> Result<Outcome> {
    let mut control_plane = ControlPlane::start(Options::beside_this_program()?).await?;
    let fleet = |namespace| Fleet { namespace, size: plan.deployments, replicas: DESIRED };
    let (targets, unmanaged) = (fleet("targets"), fleet("unmanaged"));
    targets.create(&control_plane).await?;
    unmanaged.create(&control_plane).await?;
    let mut all_options = Vec::new();
    for contestant in contestants {
        let options = contestant.options(&control_plane, &Scope::Cluster, &targets, targets.size).await?;
        all_options.push(options);
    }
    // The same identity, so that the API server treats all alike.
    let kubeconfig = control_plane.manager_kubeconfig(&Scope::Cluster).await?;

    let drifter = control_plane.client_as("drifter").await?;
    let turns = Turns {
        options: all_options,
        kubeconfig,
        observer: Observer::start(&control_plane, 2 * plan.deployments, None).await?,
        rounds: Rounds::new(targets.clone(), &drifter),
        targets,
        unrelated: Unrelated::new(&control_plane, unmanaged).await?,
        warm_up: plan.warm_up,
        progress: Progress::new(
            "rounds of drift and repair, in turns",
            2 * (1 + contestants.len()) * plan.rounds,
        ),
    };
    let board = turns.play(plan, Board::of(contestants)).await;
    // Its death would be the better explanation of a failed round.
    control_plane.check_alive()?;
    let board = board?;
    let kubernetes = drifter.apiserver_version().await?.git_version;
    Ok(Outcome { name: "drift", rows: board.rows(), kubernetes, details: board.details(plan) })
}

/// What a turn needs.
struct Turns {
    /// Those of the contestants, in their order.
    options: Vec<manager::Options>,
    /// That of the bare loop.
    kubeconfig: PathBuf,
    targets: Fleet,
    observer: Observer,
    rounds: Rounds,
    unrelated: Unrelated,
    warm_up: usize,
    progress: Progress,
}

impl Turns {
    async fn play(mut self, plan: &Plan, mut board: Board) -> Result<Board> {
        let all_options = std::mem::take(&mut self.options);
        for length in rounds::blocks(plan.rounds, plan.block) {
            self.bare_loop(length, &mut board.limit).await?;
            for (options, scores) in all_options.iter().zip(board.scores.iter_mut()) {
                self.contestant(options, length, scores).await?;
            }
        }
        self.progress.finish();
        Ok(board)
    }

    async fn bare_loop(&mut self, length: usize, scores: &mut [Score; 2]) -> Result<()> {
        // The first drift that it repairs shows that it watches.
        let mut bare_loop = BareLoop::start(&self.kubeconfig, &self.targets)?;
        let turn = self.turn(length, scores).await;
        bare_loop.check_alive()?;
        turn
    }

    async fn contestant(
        &mut self,
        options: &manager::Options,
        length: usize,
        scores: &mut [Score; 2],
    ) -> Result<()> {
        let mut process = Manager::start(options).await?;
        process.wait_ready().await?;
        let turn = self.turn(length, scores).await;
        process.check_alive()?;
        turn?;
        let status = process.terminate().await?;
        ensure!(status.success(), "a contestant ended with {status}");
        Ok(())
    }

    async fn turn(&mut self, length: usize, [quiet, among_events]: &mut [Score; 2]) -> Result<()> {
        let Self { observer, rounds, unrelated, progress, .. } = self;
        rounds.play(self.warm_up, observer, || ()).await?;
        quiet.add(&rounds.play(length, observer, || progress.advance()).await?);
        let (block, rate) = unrelated.beside(rounds.play(length, observer, || progress.advance())).await?;
        among_events.add(&block?);
        among_events.events_per_second.push(rate);
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_deployment_drifts_so_often_that_it_looks_like_a_fight() {
        for plan in [Plan::FULL, Plan::SHORT] {
            let drifts = (plan.warm_up + 2 * plan.block).div_ceil(plan.deployments);
            assert!(drifts <= rounds::MOST_DRIFTS, "{drifts} drifts of one Deployment in a turn: {plan:?}");
        }
    }
}
