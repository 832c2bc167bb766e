//! An unrelated client that reads its own Deployment, one request after the other.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Client;
use kube::api::Api;
use tokio::time;

use crate::fleet::Fleet;
use crate::latencies::Latencies;

/// The pause between an answer and the next request.
const PAUSE: Duration = Duration::from_millis(10);

/// The unrelated client.
#[derive(Debug)]
pub(super) struct Bystander {
    api: Api<Deployment>,
    name: String,
}

impl Bystander {
    pub(super) fn new(client: Client, own: &Fleet) -> Self {
        Self { api: Api::namespaced(client, own.namespace), name: own.name(0) }
    }

    /// Sends requests while `future` runs; returns its output and the latencies.
    pub(super) async fn beside<T>(&self, future: impl Future<Output = Result<T>>) -> Result<(T, Latencies)> {
        let mut latencies = Latencies::default();
        tokio::pin!(future);
        loop {
            tokio::select! {
                output = &mut future => return Ok((output?, latencies)),
                latency = self.read() => latencies.push(latency?),
            }
        }
    }

    async fn read(&self) -> Result<Duration> {
        time::sleep(PAUSE).await;
        let sent = Instant::now();
        self.api.get(&self.name).await.context("the bystander was refused")?;
        Ok(sent.elapsed())
    }
}
