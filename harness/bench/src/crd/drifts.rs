//! How long a drift lives with ReplicaCounts, beside the same with the settings file: as an independent watch sees it.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use futures_util::StreamExt as _;
use futures_util::stream::BoxStream;
use k8s_openapi::api::apps::v1::Deployment;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, WatchEvent, WatchParams};
use replica_count_testbed::control_plane::Scope;
use replica_count_testbed::{ControlPlane, Manager, manager};
use serde_json::json;
use tokio::time::timeout;

use crate::fleet::Fleet;
use crate::latencies::Latencies;
use crate::progress::Progress;
use crate::server;

/// How long a repair may take.
const PATIENCE: Duration = Duration::from_secs(30);
/// How long there is nothing to do between two drifts: enough for the budget of immediate repairs.
const PAUSE: Duration = Duration::from_millis(50);
/// The Deployments that take turns, so that none of them becomes contested.
const DEPLOYMENTS: usize = 100;

/// A namespace of Deployments with a watch.
struct Site {
    deployments: Api<Deployment>,
    fleet: Fleet,
    events: BoxStream<'static, kube::Result<WatchEvent<Deployment>>>,
}

/// The lifetimes of drifts with ReplicaCounts and with the file, of the same rounds.
pub(super) async fn measure(
    rounds: usize,
    control_plane: &ControlPlane,
    fleet: &Fleet,
) -> Result<[Latencies; 2]> {
    let beside = Fleet { namespace: "beside", size: DEPLOYMENTS, replicas: fleet.replicas };
    beside.create(control_plane).await?;
    let _with_file = with_file(control_plane, &beside).await?;
    let client = control_plane.admin().await?;
    let mut sites = [Site::start(&client, fleet).await?, Site::start(&client, &beside).await?];
    let mut latencies = [Latencies::default(), Latencies::default()];
    let warm_up = rounds.div_ceil(10);
    let mut progress = Progress::new("drifts with each store", warm_up + rounds);
    for round in 0..warm_up + rounds {
        for turn in 0..2 {
            let which = (round + turn) % 2;
            let lifetime = sites[which].drift(round % DEPLOYMENTS).await?;
            if round >= warm_up {
                latencies[which].push(lifetime);
            }
        }
        tokio::time::sleep(PAUSE).await;
        progress.advance();
    }
    progress.finish();
    Ok(latencies)
}

/// A server with the settings file that manages a fleet.
async fn with_file(control_plane: &ControlPlane, fleet: &Fleet) -> Result<Manager> {
    let options = server::options(control_plane, &Scope::Cluster).await?;
    let options = ["--namespace", fleet.namespace].into_iter().fold(options, manager::Options::argument);
    let mut server = Manager::start(&options).await?;
    server.wait_ready().await?;
    server::manage(&server, fleet, DEPLOYMENTS).await?;
    Ok(server)
}

impl Site {
    async fn start(client: &Client, fleet: &Fleet) -> Result<Self> {
        let deployments = Api::<Deployment>::namespaced(client.clone(), fleet.namespace);
        let version = deployments.list_metadata(&kube::api::ListParams::default().limit(1)).await?;
        let version = version.metadata.resource_version.context("a list has no version")?;
        // As long as the API server allows without a new one.
        let parameters = WatchParams::default().timeout(290);
        let events = deployments.watch(&parameters, &version).await?.boxed();
        Ok(Self { deployments, fleet: fleet.clone(), events })
    }

    /// Changes a count; returns how long the watch shows the wrong one.
    async fn drift(&mut self, number: usize) -> Result<Duration> {
        let (name, desired) = (self.fleet.name(number), self.fleet.replicas);
        let patch = Patch::Merge(json!({ "spec": { "replicas": desired + 4 } }));
        let parameters = PatchParams { field_manager: Some("bench".to_owned()), ..PatchParams::default() };
        self.deployments.patch_scale(&name, &parameters, &patch).await?;
        self.see(&name, desired + 4).await?;
        let seen = Instant::now();
        self.see(&name, desired).await?;
        Ok(seen.elapsed())
    }

    /// Waits until the watch shows a count.
    async fn see(&mut self, name: &str, replicas: i32) -> Result<()> {
        loop {
            let event = timeout(PATIENCE, self.events.next()).await.context("no event")?;
            match event.context("the watch has ended")?? {
                WatchEvent::Added(shown) | WatchEvent::Modified(shown) => {
                    let count = shown.spec.and_then(|spec| spec.replicas);
                    if shown.metadata.name.as_deref() == Some(name) && count == Some(replicas) {
                        return Ok(());
                    }
                }
                WatchEvent::Deleted(_) | WatchEvent::Bookmark(_) => {}
                WatchEvent::Error(error) => bail!("the watch has failed: {error:?}"),
            }
        }
    }
}
