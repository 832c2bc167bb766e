//! Everything has drifted at once: measures repairs per second, and how an unrelated client is affected.
//!
//! In each pass, a contestant is started, finds that the Deployments have a different count than desired, and changes
//! them all. Each pass desires a new count, so nothing has to drift in between.

pub(crate) mod bare_patches;
mod bystander;
mod score;

use std::time::Instant;

use anyhow::{Context as _, Result, ensure};
use bare_patches::BarePatches;
use bystander::Bystander;
use replica_count_testbed::control_plane::{Options, Scope};
use replica_count_testbed::{ControlPlane, Manager};
use score::{Board, Pass};

use crate::contestant::Contestant;
use crate::drift::observer::Observer;
use crate::fleet::Fleet;
use crate::output::say_error;
use crate::peer::Peer;
use crate::results::Outcome;

/// Numbers of concurrent bare PATCHes. The best rate of these is the limit.
const LIMITS: [usize; 5] = [1, 4, 16, 64, BESIDE_BYSTANDER];

/// The server's own concurrency: the limit for the bystander's latency.
const BESIDE_BYSTANDER: usize = 32;

/// The server's metric for answers 429.
const THROTTLED: &str = r#"replica_count_manager_write_failures_total{reason="throttled"} "#;

/// The size and the repetitions of the measurement.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    deployments: usize,
    /// The number of changes for bare PATCHes and slow contestants.
    sample: usize,
    /// The number of turns of each contestant.
    turns: usize,
}

impl Plan {
    pub(crate) const FULL: Self = Self { deployments: 10_000, sample: 2_500, turns: 2 };
    pub(crate) const SHORT: Self = Self { deployments: 100, sample: 50, turns: 1 };

    /// How many Deployments a contestant changes.
    fn share(&self, contestant: &Contestant) -> usize {
        match contestant {
            Contestant::Ours | Contestant::Baseline(_) | Contestant::Peer(Peer::TunedGo) => self.deployments,
            // It has a single worker.
            Contestant::Peer(Peer::Go) => self.sample,
        }
    }
}

/// Measures.
pub(crate) async fn measure(plan: &Plan, contestants: &[Contestant]) -> Result<Outcome> {
    let mut control_plane = ControlPlane::start(Options::beside_this_program()?).await?;
    let fleet = Fleet { namespace: "drifted", size: plan.deployments, replicas: 1 };
    let other = Fleet { namespace: "bystander", size: 1, replicas: 1 };
    fleet.create(&control_plane).await?;
    other.create(&control_plane).await?;
    let observer = Observer::start(&control_plane, fleet.size + other.size, None).await?;
    let bystander = Bystander::new(control_plane.client_as("bystander").await?, &other);
    let mut passes = Passes { control_plane: &control_plane, fleet, observer, bystander };
    let mut board = Board::of(contestants);
    for _ in 0..plan.turns {
        for concurrency in LIMITS {
            let share = if concurrency == BESIDE_BYSTANDER { plan.deployments } else { plan.sample };
            say_error(&format!("{share} bare PATCHes, {concurrency} at once …"));
            let pass = passes.bare_patches(share, concurrency).await.context("bare PATCHes")?;
            board.limits.entry(concurrency).or_default().add(pass);
        }
        for (contestant, score) in contestants.iter().zip(board.scores.iter_mut()) {
            let share = plan.share(contestant);
            say_error(&format!("{share} repairs: {} …", contestant.name()));
            score.add(passes.contestant(contestant, share).await.with_context(|| contestant.name())?);
        }
    }
    control_plane.check_alive()?;
    let kubernetes = control_plane.admin().await?.apiserver_version().await?.git_version;
    Ok(Outcome { name: "mass", rows: board.rows(), kubernetes, details: board.details(plan) })
}

/// The parts of a pass. All contestants have the same identity, so the API server treats them alike.
struct Passes<'a> {
    control_plane: &'a ControlPlane,
    /// The Deployments, with the count of the last pass.
    fleet: Fleet,
    observer: Observer,
    bystander: Bystander,
}

impl Passes<'_> {
    async fn bare_patches(&mut self, share: usize, concurrency: usize) -> Result<Pass> {
        self.fleet.replicas += 1;
        let kubeconfig = self.control_plane.manager_kubeconfig(&Scope::Cluster).await?;
        let began = Instant::now();
        let mut patches = BarePatches::start(&kubeconfig, &self.fleet, share, concurrency)?;
        let pass = self.watch(began, share).await;
        patches.check()?;
        pass
    }

    async fn contestant(&mut self, contestant: &Contestant, share: usize) -> Result<Pass> {
        self.fleet.replicas += 1;
        let options = contestant.options(self.control_plane, &Scope::Cluster, &self.fleet, share).await?;
        let began = Instant::now();
        let mut process = Manager::start(&options).await?;
        let pass = self.watch(began, share).await;
        process.check_alive()?;
        let throttled = match contestant {
            Contestant::Ours => throttled(&process.metrics().await?)?,
            Contestant::Baseline(_) | Contestant::Peer(_) => 0,
        };
        let status = process.terminate().await?;
        ensure!(status.success(), "it ended with {status}");
        Ok(Pass { throttled, ..pass? })
    }

    async fn watch(&mut self, began: Instant, changes: usize) -> Result<Pass> {
        let Self { observer, bystander, fleet, .. } = self;
        // The bystander starts with the first change, because before that, there is at most a listing.
        let first = observer.expect_all(1, fleet.replicas).await?.start;
        let (seen, bystander) = bystander.beside(observer.expect_all(changes - 1, fleet.replicas)).await?;
        let to_first = first.duration_since(began);
        Ok(Pass { changes, to_first, took: seen.end - first, bystander, throttled: 0 })
    }
}

/// The number of answers 429, according to the server's metrics.
fn throttled(metrics: &str) -> Result<u32> {
    let count = metrics.lines().find_map(|line| line.strip_prefix(THROTTLED)?.trim().parse().ok());
    count.with_context(|| format!("/metrics has no {THROTTLED}"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_throttled_answers_are_counted() {
        let metrics = "\
            replica_count_manager_write_failures_total{reason=\"stale\"} 7\n\
            replica_count_manager_write_failures_total{reason=\"throttled\"} 3\n";
        assert_eq!(throttled(metrics).ok(), Some(3));
        assert!(throttled("").is_err());
    }
}
