//! The rounds of whoever minds Deployments: one of them drifts, and its repair is awaited.

use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Client;
use kube::api::{Api, Patch, PatchParams};
use serde_json::json;
use tokio::time;

use super::DRIFTED;
use super::observer::Observer;
use crate::fleet::Fleet;
use crate::latencies::Latencies;

/// The field manager of the third party that causes the drift.
const DRIFTER: &str = "drifter";

/// From a repair to the next drift: whoever repaired may see the answer to its write first.
const PAUSE: Duration = Duration::from_millis(5);

/// How often one Deployment may drift: a server answers a fight ever more slowly, and this must not look like one.
const MOST_DRIFTS: usize = 10;

/// The fewest Deployments that can drift so many times in all.
pub(crate) fn fewest_deployments(drifts: usize) -> usize {
    drifts.div_ceil(MOST_DRIFTS)
}

/// The lengths of the blocks of so many rounds.
pub(crate) fn blocks(rounds: usize, block: usize) -> impl Iterator<Item = usize> {
    (0..rounds).step_by(block).map(move |done| block.min(rounds - done))
}

/// Whose turn it can be.
#[derive(Debug)]
pub(crate) struct Rounds {
    fleet: Fleet,
    /// How many of them drift, which are the last ones.
    count: usize,
    api: Api<Deployment>,
    next: usize,
}

impl Rounds {
    /// The rounds of whoever minds the last `count` of a fleet. `drifter` is somebody else.
    pub(crate) fn new(fleet: Fleet, count: usize, drifter: &Client) -> Self {
        let api = Api::namespaced(drifter.clone(), fleet.namespace);
        Self { fleet, count, api, next: 0 }
    }

    /// The Deployments, of which the last ones drift.
    pub(crate) fn fleet(&self) -> &Fleet {
        &self.fleet
    }

    /// Plays `count` rounds, each with another Deployment, and calls `played` after each.
    pub(crate) async fn play(
        &mut self,
        count: usize,
        observer: &mut Observer,
        mut played: impl FnMut(),
    ) -> Result<Latencies> {
        let mut latencies = Latencies::default();
        for _ in 0..count {
            latencies.push(self.round(observer).await?);
            played();
        }
        Ok(latencies)
    }

    /// Plays one round, with the next Deployment; returns how long the drift lived.
    pub(crate) async fn round(&mut self, observer: &mut Observer) -> Result<Duration> {
        let name = self.fleet.name(self.fleet.size - self.count + self.next % self.count);
        self.next += 1;
        let patch = Patch::Merge(json!({ "spec": { "replicas": DRIFTED } }));
        self.api
            .patch_scale(&name, &PatchParams::apply(DRIFTER), &patch)
            .await
            .with_context(|| format!("cannot make {name} drift"))?;
        let drifted = observer.expect(&self.fleet, &name, DRIFTED).await?;
        let repaired = observer.expect(&self.fleet, &name, self.fleet.replicas).await?;
        time::sleep(PAUSE).await;
        Ok(repaired.duration_since(drifted))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn blocks_add_up_to_the_rounds() {
        let cases: [(usize, &[usize]); 4] = [(120, &[50, 50, 20]), (100, &[50, 50]), (7, &[7]), (50, &[50])];
        for (rounds, expected) in cases {
            assert_eq!(blocks(rounds, 50).collect::<Vec<_>>(), expected, "{rounds}");
        }
    }
}
