//! Somebody who has nothing to do with it, and reads a Deployment of their own: one request after the other.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Client;
use kube::api::Api;
use tokio::time;

use crate::fleet::Fleet;
use crate::latencies::Latencies;

/// From one answer to the next request.
const PAUSE: Duration = Duration::from_millis(10);

/// Who reads.
#[derive(Debug)]
pub(super) struct Bystander {
    api: Api<Deployment>,
    name: String,
}

impl Bystander {
    pub(super) fn new(client: Client, own: &Fleet) -> Self {
        Self { api: Api::namespaced(client, own.namespace), name: own.name(0) }
    }

    /// Goes on until something else is over; returns what that says, and how long each answer took.
    pub(super) async fn beside<T>(&self, over: impl Future<Output = Result<T>>) -> Result<(T, Latencies)> {
        let mut latencies = Latencies::default();
        tokio::pin!(over);
        loop {
            tokio::select! {
                said = &mut over => return Ok((said?, latencies)),
                took = self.read() => latencies.push(took?),
            }
        }
    }

    async fn read(&self) -> Result<Duration> {
        time::sleep(PAUSE).await;
        let asked = Instant::now();
        self.api.get(&self.name).await.context("the bystander was refused")?;
        Ok(asked.elapsed())
    }
}
