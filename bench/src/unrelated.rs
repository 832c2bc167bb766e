//! What happens in a cluster all the time and is nobody's business here: the status of Deployments changes.

use std::pin::pin;
use std::time::Duration;

use anyhow::{Context as _, Result};
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

/// Changes the status of the first `count` Deployments of a fleet, one after the other and again, for as long. Returns
/// how many changes there were in a second.
pub(crate) async fn change(
    control_plane: &ControlPlane,
    fleet: &Fleet,
    count: usize,
    lasting: Duration,
) -> Result<f64> {
    let api: Api<Deployment> =
        Api::namespaced(control_plane.client_as(sample::CONTROLLER).await?, fleet.namespace);
    let changes = u32::try_from(lasting.as_millis() / PAUSE.as_millis())?;
    let started = Instant::now();
    let changed = stream::unfold(time::interval(PAUSE), async |mut ticks| {
        ticks.tick().await;
        Some(((), ticks))
    });
    let changed = changed.zip(stream::iter(0..changes)).map(async |((), change)| {
        // Never the same twice.
        let patch = Patch::Merge(json!({ "status": { "observedGeneration": change + 2 } }));
        let name = fleet.name(change as usize % count);
        api.patch_status(&name, &PatchParams::apply(sample::CONTROLLER), &patch)
            .await
            .context("cannot change a status")
    });
    let mut changed = pin!(changed.buffer_unordered(CONCURRENCY));
    while changed.try_next().await?.is_some() {}
    Ok(f64::from(changes) / started.elapsed().as_secs_f64())
}
