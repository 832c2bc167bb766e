//! How long a drift lives: the server, a bare loop, an earlier server and the Go operator, side by side.
//!
//! All of them run all the time, each with a namespace to itself, and each has one turn in each round. So noise on the
//! machine reaches all of them alike, and latencies of one round can be compared.

pub(crate) mod bare_loop;
pub(crate) mod observer;
mod order;
mod player;
pub(crate) mod rounds;
mod score;
mod watch;

use std::num::NonZeroUsize;
use std::time::Duration;

use anyhow::Result;
use observer::Observer;
use order::order;
use player::Player;
use replica_count_testbed::ControlPlane;
use replica_count_testbed::control_plane::Options;
use score::Board;
use tokio::time;

use crate::contestant::Contestant;
use crate::latencies::Latencies;
use crate::progress::Progress;
use crate::results::Outcome;
use crate::unrelated::Unrelated;

/// The count that everybody holds.
pub(crate) const DESIRED: i32 = 3;

/// The count that everything drifts to.
const DRIFTED: i32 = 7;

/// From the first event of others in a turn to the drift: at 200 a second, five events.
const LEAD: Duration = Duration::from_millis(25);

/// How much is measured.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    /// Deployments of each contestant that drift.
    managed: usize,
    /// Deployments in its namespace that nobody minds.
    unmanaged: usize,
    /// Rounds on a quiet cluster, and as many among the events of others.
    rounds: usize,
    /// Rounds at the beginning that do not count.
    warm_up: usize,
}

impl Plan {
    const FULL: Self = Self { managed: 200, unmanaged: 200, rounds: 2_000, warm_up: 50 };
    const SHORT: Self = Self { managed: 20, unmanaged: 20, rounds: 10, warm_up: 2 };

    /// The full or the short plan, with another number of rounds if one is given.
    pub(crate) fn new(rounds: Option<NonZeroUsize>, short: bool) -> Self {
        let plan = if short { Self::SHORT } else { Self::FULL };
        let rounds = rounds.map_or(plan.rounds, NonZeroUsize::get);
        // The same processes play all rounds, and must not take the drifts of one Deployment for a fight.
        let managed = plan.managed.max(rounds::fewest_deployments(plan.warm_up + 2 * rounds));
        Self { managed, rounds, ..plan }
    }
}

/// Measures.
pub(crate) async fn measure(plan: &Plan, contestants: &[Contestant]) -> Result<Outcome> {
    let mut control_plane = ControlPlane::start(Options::beside_this_program()?).await?;
    let drifter = control_plane.client_as("drifter").await?;
    let mut players = vec![Player::limit(&control_plane, plan, &drifter).await?];
    for contestant in contestants {
        players.push(Player::contestant(contestant, &control_plane, plan, &drifter).await?);
    }
    let unmanaged = players.iter().map(|player| player.unmanaged(plan)).collect();
    let unrelated = Unrelated::new(&control_plane, unmanaged).await?;
    let deployments = players.len() * (plan.managed + plan.unmanaged);
    let observer = Observer::start(&control_plane, deployments, None).await?;
    let turns = players.len() * (plan.warm_up + 2 * plan.rounds);
    let progress = Progress::new("turns of drift and repair", turns);
    let mut game = Game { players, observer, progress };
    let board = game.play(plan, contestants, &unrelated).await;
    // A death would be the better explanation of a failed round.
    control_plane.check_alive()?;
    game.players.iter_mut().try_for_each(Player::check_alive)?;
    let board = board?;
    game.progress.finish();
    let kubernetes = drifter.apiserver_version().await?.git_version;
    Ok(Outcome { name: "drift", rows: board.rows(), kubernetes, details: board.details(plan) })
}

/// What a round needs.
struct Game {
    /// The limit, and then the contestants.
    players: Vec<Player>,
    observer: Observer,
    progress: Progress,
}

impl Game {
    async fn play(
        &mut self,
        plan: &Plan,
        contestants: &[Contestant],
        unrelated: &Unrelated,
    ) -> Result<Board> {
        let quiet = async |_| ();
        self.rounds(plan.warm_up, quiet).await?;
        let on_quiet_cluster = self.rounds(plan.rounds, quiet).await?;
        let rounds = self.rounds(plan.rounds, async |player| {
            unrelated.turn_to(player);
            time::sleep(LEAD).await;
        });
        let (among_events, events_per_second) = unrelated.beside(rounds).await?;
        Ok(Board::new(contestants, [on_quiet_cluster, among_events?], events_per_second))
    }

    /// Plays so many rounds, and calls `before` each turn; returns how long the drifts of each player lived.
    async fn rounds(&mut self, count: usize, before: impl AsyncFn(usize)) -> Result<Vec<Latencies>> {
        let Self { players, observer, progress } = self;
        let mut latencies = vec![Latencies::default(); players.len()];
        for round in 0..count {
            for player in order(round, players.len()) {
                before(player).await;
                latencies[player].push(players[player].rounds.round(observer).await?);
                progress.advance();
            }
        }
        Ok(latencies)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_deployment_drifts_so_often_that_it_looks_like_a_fight() {
        for (rounds, short, expected) in [
            (None, false, 405),
            (None, true, 20),
            (Some(975), false, 200),
            (Some(976), false, 201),
            (Some(20_000), false, 4_005),
            (Some(2_000), true, 401),
        ] {
            let plan = Plan::new(rounds.and_then(NonZeroUsize::new), short);
            assert_eq!(plan.managed, expected, "{rounds:?} rounds, short: {short}");
        }
    }
}
