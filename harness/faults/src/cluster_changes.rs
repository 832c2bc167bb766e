//! Changes to the cluster behind the server's back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use fastrand::Rng;
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams, PostParams};
use replica_count_testbed::ControlPlane;
use serde_json::json;
use tokio::time;

use crate::schedule::Amount;
use crate::trace::{Note, Trace};

/// Counts from here on are never set as desired.
const DRIFTED: i32 = 2_000;
/// The field manager of these changes.
const SOMEBODY: &str = "somebody";
/// The count of a new Deployment.
pub(crate) const NEW: i32 = 1;

/// The Deployments of a round.
pub(crate) struct ClusterChanges<'a> {
    control_plane: &'a ControlPlane,
    namespace: String,
    api: Api<Deployment>,
    autoscalers: Api<HorizontalPodAutoscaler>,
    trace: &'a Trace,
    /// How often a count was changed.
    deviations: AtomicUsize,
}

impl<'a> ClusterChanges<'a> {
    pub(crate) async fn new(
        control_plane: &'a ControlPlane,
        namespace: &str,
        trace: &'a Trace,
    ) -> Result<Self> {
        let client = control_plane.admin().await?;
        let (api, autoscalers) =
            (Api::namespaced(client.clone(), namespace), Api::namespaced(client, namespace));
        let deviations = AtomicUsize::new(0);
        Ok(Self { control_plane, namespace: namespace.to_owned(), api, autoscalers, trace, deviations })
    }

    pub(crate) fn deviations(&self) -> usize {
        self.deviations.load(Ordering::SeqCst)
    }

    /// The current count.
    pub(crate) async fn count(&self, name: &str) -> Result<Option<i32>> {
        let found = self.api.get_opt(name).await?;
        Ok(found.and_then(|deployment| deployment.spec?.replicas))
    }

    /// Makes random changes, as many as the load says.
    pub(crate) async fn run(&self, names: &[String], load: &Amount, mut random: Rng) -> Result<()> {
        for n in 0..load.drifts {
            time::sleep(Duration::from_millis(random.u64(..=load.pause_ms))).await;
            let name = &names[random.usize(..names.len())];
            let count = DRIFTED + i32::try_from(n)?;
            match random.u8(..10) {
                0 => self.there_and_back(name, count).await?,
                1 => self.touch(name, n).await?,
                2 => self.create_again(name).await?,
                _ => self.scale(name, count).await?,
            }
        }
        Ok(())
    }

    pub(crate) async fn scale(&self, name: &str, count: i32) -> Result<()> {
        self.deviations.fetch_add(1, Ordering::SeqCst);
        self.trace.note(Note::Cluster(format!("scale {name} to {count}")));
        let patch = Patch::Merge(json!({ "spec": { "replicas": count } }));
        match self.api.patch_scale(name, &parameters(), &patch).await {
            // Someone is re-creating it.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }

    /// Creates an autoscaler for a Deployment.
    pub(crate) async fn autoscale(&self, autoscaler: &str, name: &str) -> Result<()> {
        self.trace.note(Note::Cluster(format!("{autoscaler} of {name} appears")));
        let target = json!({ "apiVersion": "apps/v1", "kind": "Deployment", "name": name });
        let spec = json!({ "scaleTargetRef": target, "maxReplicas": 9 });
        let object = serde_json::from_value(json!({ "metadata": { "name": autoscaler }, "spec": spec }))?;
        self.autoscalers.create(&PostParams::default(), &object).await?;
        Ok(())
    }

    /// Deletes an autoscaler.
    pub(crate) async fn stop_autoscaling(&self, autoscaler: &str) -> Result<()> {
        self.trace.note(Note::Cluster(format!("{autoscaler} goes")));
        self.autoscalers.delete(autoscaler, &DeleteParams::default()).await?;
        Ok(())
    }

    pub(crate) async fn there_and_back(&self, name: &str, count: i32) -> Result<()> {
        let Some(before) = self.count(name).await? else { return Ok(()) };
        self.scale(name, count).await?;
        self.scale(name, before).await
    }

    /// Deletes all Deployments, which would otherwise slow down later rounds.
    pub(crate) async fn delete_all(&self) -> Result<()> {
        self.api.delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
        Ok(())
    }

    /// Changes something other than the count.
    async fn touch(&self, name: &str, n: usize) -> Result<()> {
        let patch = json!({ "metadata": { "annotations": { "touched": n.to_string() } } });
        self.api.patch(name, &parameters(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    async fn create_again(&self, name: &str) -> Result<()> {
        self.deviations.fetch_add(1, Ordering::SeqCst);
        self.trace.note(Note::Cluster(format!("create {name} again with {NEW}")));
        self.api.delete(name, &DeleteParams::default()).await?;
        self.control_plane.deployment(&self.namespace, name, NEW).await
    }
}

fn parameters() -> PatchParams {
    PatchParams { field_manager: Some(SOMEBODY.to_owned()), ..PatchParams::default() }
}
