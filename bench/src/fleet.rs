//! Many Deployments in one namespace.

use anyhow::{Context as _, Result};
use futures_util::{StreamExt as _, TryStreamExt as _, stream};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Client;
use kube::api::{Api, Patch, PatchParams, PostParams};
use replica_count_testbed::ControlPlane;

use crate::progress::Progress;
use crate::sample;

/// Requests under way at once: what the API server can take without queueing.
const CONCURRENCY: usize = 16;

/// How many Deployments the average size is taken of.
const WEIGHED: usize = 100;

/// The Deployments `deployment-00000` and on of a namespace, which begin with one count.
#[derive(Clone, Debug)]
pub(crate) struct Fleet {
    pub(crate) namespace: &'static str,
    pub(crate) size: usize,
    pub(crate) replicas: i32,
}

impl Fleet {
    /// Creates the namespace and the Deployments, each with the status of one whose replicas are ready.
    pub(crate) async fn create(&self, control_plane: &ControlPlane) -> Result<()> {
        control_plane.create_namespace(self.namespace).await?;
        let client = control_plane.admin().await?;
        let api: Api<Deployment> = Api::namespaced(client, self.namespace);
        let what = format!("creating {} Deployments in {}", self.size, self.namespace);
        let mut progress = Progress::new(what, self.size);
        let mut created = stream::iter(0..self.size)
            .map(|number| self.create_one(&api, number))
            .buffer_unordered(CONCURRENCY);
        while let Some(()) = created.try_next().await? {
            progress.advance();
        }
        progress.finish();
        Ok(())
    }

    /// The name of a Deployment. Numbers beyond the last begin again with the first.
    pub(crate) fn name(&self, number: usize) -> String {
        format!("deployment-{:05}", number % self.size)
    }

    /// The average size of a Deployment in JSON, as the API server sends it.
    pub(crate) async fn average_bytes(&self, client: &Client) -> Result<usize> {
        let count = self.size.min(WEIGHED);
        let path = format!("/apis/apps/v1/namespaces/{}/deployments?limit={count}", self.namespace);
        let list = client.request_text(http::Request::get(path).body(Vec::new())?).await?;
        list.len().checked_div(count).context("there are no Deployments to weigh")
    }

    async fn create_one(&self, api: &Api<Deployment>, number: usize) -> Result<()> {
        let name = self.name(number);
        let creator = PostParams { field_manager: Some(sample::CREATOR.to_owned()), ..PostParams::default() };
        api.create(&creator, &sample::deployment(&name, self.replicas)?).await?;
        let status = Patch::Merge(sample::status(self.replicas));
        api.patch_status(&name, &PatchParams::apply(sample::CONTROLLER), &status).await?;
        Ok(())
    }
}
