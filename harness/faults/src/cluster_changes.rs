//! Changes to the cluster behind the server's back.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::Result;
use fastrand::Rng;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::ResourceExt as _;
use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, ListParams, Patch, PatchParams, PostParams};
use replica_count_core::kind::{ByKind, Kind};
use replica_count_testbed::ControlPlane;
use serde_json::json;
use tokio::time;

use crate::schedule::Amount;
use crate::trace::{Note, Trace};
use crate::workload::Workload;

/// Counts from here on are never set as desired.
const DRIFTED: i32 = 2_000;
/// The field manager of these changes.
const SOMEBODY: &str = "somebody";
/// The count of a new workload.
pub(crate) const NEW: i32 = 1;

/// The workloads of a round.
pub(crate) struct ClusterChanges<'a> {
    control_plane: &'a ControlPlane,
    namespace: String,
    apis: ByKind<Api<DynamicObject>>,
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
        let apis = ByKind::of(|kind| Api::namespaced_with(client.clone(), namespace, &resource(kind)));
        let autoscalers = Api::namespaced(client, namespace);
        let deviations = AtomicUsize::new(0);
        Ok(Self { control_plane, namespace: namespace.to_owned(), apis, autoscalers, trace, deviations })
    }

    pub(crate) fn control_plane(&self) -> &'a ControlPlane {
        self.control_plane
    }

    pub(crate) fn deviations(&self) -> usize {
        self.deviations.load(Ordering::SeqCst)
    }

    /// The current count.
    pub(crate) async fn count(&self, workload: &Workload) -> Result<Option<i32>> {
        let found = self.apis[workload.kind].get_opt(&workload.name).await?;
        let count = found.and_then(|object| object.data["spec"]["replicas"].as_i64());
        Ok(count.map(i32::try_from).transpose()?)
    }

    /// All current counts.
    pub(crate) async fn counts(&self) -> Result<Vec<(Workload, i32)>> {
        let mut counts = Vec::new();
        for kind in Kind::ALL {
            for object in self.apis[kind].list(&ListParams::default()).await? {
                let count = object.data["spec"]["replicas"].as_i64().unwrap_or_default().try_into()?;
                counts.push((Workload { kind, name: object.name_any() }, count));
            }
        }
        Ok(counts)
    }

    /// Makes random changes, as many as the load says.
    pub(crate) async fn run(&self, workloads: &[Workload], load: &Amount, mut random: Rng) -> Result<()> {
        for n in 0..load.drifts {
            time::sleep(Duration::from_millis(random.u64(..=load.pause_ms))).await;
            let workload = &workloads[random.usize(..workloads.len())];
            let count = DRIFTED + i32::try_from(n)?;
            match random.u8(..10) {
                0 => self.there_and_back(workload, count).await?,
                1 => self.touch(workload, n).await?,
                2 => self.create_again(workload).await?,
                _ => self.scale(workload, count).await?,
            }
        }
        Ok(())
    }

    pub(crate) async fn scale(&self, workload: &Workload, count: i32) -> Result<()> {
        self.deviations.fetch_add(1, Ordering::SeqCst);
        self.trace.note(Note::Cluster(format!("scale {workload} to {count}")));
        let patch = Patch::Merge(json!({ "spec": { "replicas": count } }));
        match self.apis[workload.kind].patch_scale(&workload.name, &parameters(), &patch).await {
            // Someone is re-creating it.
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            other => Ok(other.map(drop)?),
        }
    }

    /// Creates an autoscaler for a workload.
    pub(crate) async fn autoscale(&self, autoscaler: &str, workload: &Workload) -> Result<()> {
        self.trace.note(Note::Cluster(format!("{autoscaler} of {workload} appears")));
        let target =
            json!({ "apiVersion": "apps/v1", "kind": workload.kind.as_str(), "name": workload.name });
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

    pub(crate) async fn there_and_back(&self, workload: &Workload, count: i32) -> Result<()> {
        let Some(before) = self.count(workload).await? else { return Ok(()) };
        self.scale(workload, count).await?;
        self.scale(workload, before).await
    }

    /// Deletes all workloads, which would otherwise slow down later rounds.
    pub(crate) async fn delete_all(&self) -> Result<()> {
        for kind in Kind::ALL {
            self.apis[kind].delete_collection(&DeleteParams::default(), &ListParams::default()).await?;
        }
        Ok(())
    }

    /// Changes something other than the count.
    async fn touch(&self, workload: &Workload, n: usize) -> Result<()> {
        let patch = json!({ "metadata": { "annotations": { "touched": n.to_string() } } });
        self.apis[workload.kind].patch(&workload.name, &parameters(), &Patch::Merge(patch)).await?;
        Ok(())
    }

    async fn create_again(&self, workload: &Workload) -> Result<()> {
        self.deviations.fetch_add(1, Ordering::SeqCst);
        self.trace.note(Note::Cluster(format!("create {workload} again with {NEW}")));
        self.apis[workload.kind].delete(&workload.name, &DeleteParams::default()).await?;
        workload.create(self.control_plane, &self.namespace, NEW).await
    }
}

fn resource(kind: Kind) -> ApiResource {
    match kind {
        Kind::Deployment => ApiResource::erase::<Deployment>(&()),
        Kind::StatefulSet => ApiResource::erase::<StatefulSet>(&()),
    }
}

fn parameters() -> PatchParams {
    PatchParams { field_manager: Some(SOMEBODY.to_owned()), ..PatchParams::default() }
}
