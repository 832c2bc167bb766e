//! Unrelated events: status changes of Deployments, which happen in a cluster all the time.

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
    fleet: Fleet,
    api: Api<Deployment>,
    /// The number of changes so far.
    changes: usize,
}

impl Unrelated {
    /// Changes the Deployments of a fleet in turn, repeatedly.
    pub(crate) async fn new(control_plane: &ControlPlane, fleet: Fleet) -> Result<Self> {
        let client = control_plane.client_as(sample::CONTROLLER).await?;
        Ok(Self { api: Api::namespaced(client, fleet.namespace), fleet, changes: 0 })
    }

    /// Causes changes while `future` runs; returns its output and the changes per second.
    pub(crate) async fn beside<T>(&mut self, future: impl Future<Output = T>) -> Result<(T, f64)> {
        let (before, started) = (self.changes, Instant::now());
        let output = tokio::select! {
            output = future => output,
            error = self.run() => return Err(error),
        };
        let changes = u32::try_from(self.changes - before)?;
        Ok((output, f64::from(changes) / started.elapsed().as_secs_f64()))
    }

    /// Causes changes until an error occurs.
    async fn run(&mut self) -> anyhow::Error {
        let Self { fleet, api, changes } = self;
        let ticks = stream::unfold(time::interval(PAUSE), async |mut ticks| {
            ticks.tick().await;
            Some(((), ticks))
        });
        // Each number differs from the previous one, so the status really changes.
        let numbers = stream::iter(*changes..);
        let changed = ticks.zip(numbers).map(|((), number)| change(api, fleet.name(number), number));
        let mut changed = pin!(changed.buffer_unordered(CONCURRENCY));
        loop {
            match changed.try_next().await {
                Ok(Some(())) => *changes += 1,
                Ok(None) => return anyhow!("the clock stopped"),
                Err(error) => return error,
            }
        }
    }
}

async fn change(api: &Api<Deployment>, name: String, number: usize) -> Result<()> {
    let patch = Patch::Merge(json!({ "status": { "observedGeneration": number + 2 } }));
    let changed = api.patch_status(&name, &PatchParams::apply(sample::CONTROLLER), &patch).await;
    changed.context("cannot change a status")?;
    Ok(())
}
