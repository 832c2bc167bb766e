//! Unrelated events: status changes of Deployments, which happen in a cluster all the time.

use std::cell::Cell;
use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, Result, anyhow};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, Patch, PatchParams};
use replica_count_testbed::ControlPlane;
use serde_json::json;
use tokio::time::{self, Instant};

use crate::fleet::Fleet;
use crate::sample;

/// The interval of the changes: 200 a second.
const PAUSE: Duration = Duration::from_millis(5);

/// The number of concurrent changes, so delays are caught up.
const CONCURRENCY: usize = 16;

/// Causes status changes.
#[derive(Debug)]
pub(crate) struct Unrelated {
    fleets: Vec<(Fleet, Api<Deployment>)>,
    /// Which of them changes.
    turn: Cell<usize>,
    /// How many changes there have been.
    changes: Cell<usize>,
}

impl Unrelated {
    /// Changes the Deployments of one fleet at a time, one after the other and again. It begins with the first fleet.
    pub(crate) async fn new(control_plane: &ControlPlane, fleets: Vec<Fleet>) -> Result<Self> {
        let client = control_plane.client_as(sample::CONTROLLER).await?;
        let with_api = |fleet: Fleet| {
            let api = Api::namespaced(client.clone(), fleet.namespace);
            (fleet, api)
        };
        let fleets = fleets.into_iter().map(with_api).collect();
        Ok(Self { fleets, turn: Cell::new(0), changes: Cell::new(0) })
    }

    /// Changes those of this fleet from now on.
    pub(crate) fn turn_to(&self, fleet: usize) {
        self.turn.set(fleet);
    }

    /// Goes on until something else is over; returns what that says, and how many changes there were in a second.
    pub(crate) async fn beside<T>(&self, over: impl Future<Output = T>) -> Result<(T, f64)> {
        let (before, started) = (self.changes.get(), Instant::now());
        let said = tokio::select! {
            said = over => said,
            error = self.go_on() => return Err(error),
        };
        let changes = u32::try_from(self.changes.get() - before)?;
        Ok((said, f64::from(changes) / started.elapsed().as_secs_f64()))
    }

    /// Goes on until it fails.
    async fn go_on(&self) -> anyhow::Error {
        let ticks = stream::unfold(time::interval(PAUSE), async |mut ticks| {
            ticks.tick().await;
            Some(((), ticks))
        });
        // Never what it was before, or nothing would change.
        let numbers = stream::iter(self.changes.get()..);
        let changed = ticks.zip(numbers).map(|((), number)| self.change(number));
        let mut changed = pin!(changed.buffer_unordered(CONCURRENCY));
        loop {
            match changed.try_next().await {
                Ok(Some(())) => self.changes.set(self.changes.get() + 1),
                Ok(None) => return anyhow!("the ticks of a clock ended"),
                Err(error) => return error,
            }
        }
    }

    async fn change(&self, number: usize) -> Result<()> {
        let (fleet, api) = &self.fleets[self.turn.get()];
        let patch = Patch::Merge(json!({ "status": { "observedGeneration": number + 2 } }));
        let parameters = PatchParams::apply(sample::CONTROLLER);
        let changed = api.patch_status(&fleet.name(number), &parameters, &patch).await;
        changed.context("cannot change a status")?;
        Ok(())
    }
}
