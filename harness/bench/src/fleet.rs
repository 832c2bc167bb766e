//! Many Deployments in one namespace.

mod copies;

use std::ops::Range;
use std::pin::pin;

use anyhow::{Context as _, Result};
use copies::Original;
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use replica_count_testbed::ControlPlane;
use serde_json::{Value, json};

use crate::etcd::Etcd;
use crate::progress::Progress;
use crate::sample;

/// The number of concurrent writes.
const CONCURRENCY: usize = 16;

/// The number of Deployments in the sample for the average size.
const SIZE_SAMPLE: usize = 100;

/// The Deployments `deployment-00000` and so on in a namespace, all created with the same count.
#[derive(Clone, Debug)]
pub(crate) struct Fleet {
    pub(crate) namespace: &'static str,
    pub(crate) size: usize,
    pub(crate) replicas: i32,
}

impl Fleet {
    /// Creates the namespace and the Deployments, each with a status of ready replicas.
    pub(crate) async fn create(&self, control_plane: &ControlPlane) -> Result<()> {
        control_plane.create_namespace(self.namespace).await?;
        self.create_first(&control_plane.admin().await?).await?;
        self.grow(control_plane, 1).await
    }

    /// Creates the Deployments from number `from` on; the earlier ones exist already.
    pub(crate) async fn grow(&self, control_plane: &ControlPlane, from: usize) -> Result<()> {
        if from == self.size {
            return Ok(());
        }
        let (first, api) =
            (self.name(0), Api::<Deployment>::namespaced(control_plane.admin().await?, self.namespace));
        let uid = api.get(&first).await?.metadata.uid.context("a Deployment has no uid")?;
        let original = Original::read(Etcd::new(control_plane)?, self.namespace, first, uid).await?;
        let count = self.size - from;
        let mut progress =
            Progress::new(format!("creating {count} Deployments in {}", self.namespace), count);
        let copies =
            stream::iter(from..self.size).map(async |number| original.copy(&self.name(number), number).await);
        let mut copies = pin!(copies.buffer_unordered(CONCURRENCY));
        while let Some(()) = copies.try_next().await? {
            progress.advance();
        }
        progress.finish();
        Ok(())
    }

    /// The name of a Deployment. Numbers beyond the last wrap around.
    pub(crate) fn name(&self, number: usize) -> String {
        format!("deployment-{:05}", number % self.size)
    }

    /// The entries of a settings file for some of them, with their initial count.
    pub(crate) fn settings(&self, numbers: Range<usize>) -> Value {
        let setting = |number| json!({ "name": self.name(number), "namespace": self.namespace, "replicas": self.replicas });
        numbers.map(setting).collect()
    }

    /// The average JSON size of a Deployment, as sent by the API server.
    pub(crate) async fn average_bytes(&self, client: &Client) -> Result<usize> {
        let count = self.size.min(SIZE_SAMPLE);
        let path = format!("/apis/apps/v1/namespaces/{}/deployments?limit={count}", self.namespace);
        let list = client.request_text(http::Request::get(path).body(Vec::new())?).await?;
        list.len().checked_div(count).context("there are no Deployments to measure")
    }

    async fn create_first(&self, client: &Client) -> Result<()> {
        let (name, api) = (self.name(0), Api::<Deployment>::namespaced(client.clone(), self.namespace));
        let creator = PostParams { field_manager: Some(sample::CREATOR.to_owned()), ..PostParams::default() };
        api.create(&creator, &sample::deployment(&name, self.replicas)?).await?;
        let status = Patch::Merge(sample::status(self.replicas));
        api.patch_status(&name, &PatchParams::apply(sample::CONTROLLER), &status).await?;
        Ok(())
    }
}
