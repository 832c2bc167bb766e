//! What happens in a cluster all the time and is nobody's business here: the status of Deployments changes.

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

/// From one change to the next: 200 a second.
const PAUSE: Duration = Duration::from_millis(5);

/// Changes under way at once: what is late is made up for.
const CONCURRENCY: usize = 16;

/// Who causes it.
#[derive(Debug)]
pub(crate) struct Unrelated {
    fleet: Fleet,
    api: Api<Deployment>,
    /// How many changes there have been.
    changes: usize,
}

impl Unrelated {
    /// Changes of the Deployments of a fleet, one after the other and again.
    pub(crate) async fn new(control_plane: &ControlPlane, fleet: Fleet) -> Result<Self> {
        let client = control_plane.client_as(sample::CONTROLLER).await?;
        Ok(Self { api: Api::namespaced(client, fleet.namespace), fleet, changes: 0 })
    }

    /// Goes on until something else is over; returns what that says, and how many changes there were in a second.
    pub(crate) async fn beside<T>(&mut self, over: impl Future<Output = T>) -> Result<(T, f64)> {
        let (before, started) = (self.changes, Instant::now());
        let said = tokio::select! {
            said = over => said,
            error = self.go_on() => return Err(error),
        };
        let changes = u32::try_from(self.changes - before)?;
        Ok((said, f64::from(changes) / started.elapsed().as_secs_f64()))
    }

    /// Goes on until it fails.
    async fn go_on(&mut self) -> anyhow::Error {
        let Self { fleet, api, changes } = self;
        let ticks = stream::unfold(time::interval(PAUSE), async |mut ticks| {
            ticks.tick().await;
            Some(((), ticks))
        });
        // Never what it was before, or nothing would change.
        let numbers = stream::iter(*changes..);
        let changed = ticks.zip(numbers).map(|((), number)| change(api, fleet.name(number), number));
        let mut changed = pin!(changed.buffer_unordered(CONCURRENCY));
        loop {
            match changed.try_next().await {
                Ok(Some(())) => *changes += 1,
                Ok(None) => return anyhow!("the ticks of a clock ended"),
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
