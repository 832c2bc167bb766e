//! Watches the count of one Deployment, independently of the server.

use std::time::Duration;

use anyhow::{Context as _, Result, anyhow, bail};
use futures_util::TryStreamExt as _;
use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, WatchEvent, WatchParams};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{self, Instant};

const DEADLINE: Duration = Duration::from_secs(30);

/// More changes than any caller makes before it reads them.
const CAPACITY: usize = 256;

/// An observed count, and when it was observed.
#[derive(Clone, Copy, Debug)]
struct Seen {
    replicas: i32,
    at: Instant,
}

/// An observed drift and its repair.
#[derive(Clone, Copy, Debug)]
pub struct Repair {
    drifted: Instant,
    repaired: Instant,
}

impl Repair {
    /// The time from the drift to its repair.
    pub fn duration(self) -> Duration {
        self.repaired.saturating_duration_since(self.drifted)
    }
}

/// Records the time of every change of the count in the background.
#[derive(Debug)]
pub struct Observer {
    changes: mpsc::Receiver<Seen>,
    /// Ends the watch when it is dropped.
    watch: JoinSet<Result<()>>,
}

impl Observer {
    /// Watches the Deployment `name` from now on.
    pub async fn start(api: Api<Deployment>, name: &str) -> Result<Self> {
        let found = api.get(name).await?;
        let version = found.metadata.resource_version.clone().context("an object has no version")?;
        let (sender, changes) = mpsc::channel(CAPACITY);
        let fields = format!("metadata.name={name}");
        let mut watch = JoinSet::new();
        watch.spawn(async move {
            let parameters = WatchParams::default().fields(&fields).timeout(290);
            let mut events = std::pin::pin!(api.watch(&parameters, &version).await?);
            let mut last = replicas(&found);
            while let Some(event) = events.try_next().await? {
                let WatchEvent::Modified(deployment) = event else { continue };
                let now = replicas(&deployment);
                if now != last {
                    last = now;
                    sender.send(Seen { replicas: now, at: Instant::now() }).await?;
                }
            }
            bail!("the watch ended")
        });
        Ok(Self { changes, watch })
    }

    /// Waits for the next change, which must be to this count, and returns when it was observed.
    pub async fn wait_for(&mut self, replicas: i32) -> Result<Instant> {
        match time::timeout(DEADLINE, self.changes.recv()).await {
            Ok(Some(seen)) if seen.replicas == replicas => Ok(seen.at),
            Ok(Some(seen)) => bail!("expected {replicas} replicas, and the cluster has {}", seen.replicas),
            Ok(None) => Err(self.ended().await),
            Err(_) => bail!("the cluster did not have {replicas} replicas within {DEADLINE:?}"),
        }
    }

    /// Waits for a drift and its repair.
    pub async fn wait_for_repair(&mut self, drift: i32, desired: i32) -> Result<Repair> {
        let drifted = self.wait_for(drift).await?;
        let repaired = self.wait_for(desired).await.context("the drift was not repaired")?;
        Ok(Repair { drifted, repaired })
    }

    /// Fails if the count has changed since the last wait, `time` ago.
    pub fn expect_unchanged(&mut self, time: Duration) -> Result<()> {
        match self.changes.try_recv() {
            Err(mpsc::error::TryRecvError::Empty) => Ok(()),
            Err(mpsc::error::TryRecvError::Disconnected) => bail!("the watch ended"),
            Ok(seen) => {
                bail!("the count changed to {} within {time:?}, and should not have", seen.replicas)
            }
        }
    }

    async fn ended(&mut self) -> anyhow::Error {
        match self.watch.join_next().await {
            Some(Ok(Err(error))) => error,
            _ => anyhow!("the watch ended"),
        }
    }
}

/// The API server always sets a count.
fn replicas(deployment: &Deployment) -> i32 {
    deployment.spec.as_ref().and_then(|spec| spec.replicas).unwrap_or_default()
}
