//! The server's pods.

use anyhow::{Context as _, Result, bail, ensure};
use k8s_openapi::api::core::v1::Pod;
use kube::api::ListParams;
use kube::{Api, ResourceExt as _};

use crate::eventually::eventually;
use crate::fixture::{Fixture, NAME};

/// The labels that only the server's pod has.
pub(crate) const LABELS: &str =
    "app.kubernetes.io/instance=replica-count-manager,app.kubernetes.io/component=server";

impl Fixture {
    /// The pods in the namespace of the release.
    pub(crate) fn pods(&self) -> Api<Pod> {
        Api::namespaced(self.kubernetes.clone(), NAME)
    }

    /// Waits until the server's only pod is ready.
    pub(crate) async fn pod(&self) -> Result<Pod> {
        eventually("the server's pod is ready", async || self.ready_pod().await).await
    }

    /// Waits for the pod that replaces `old`.
    pub(crate) async fn pod_after(&self, old: &Pod) -> Result<Pod> {
        eventually("another pod of the server is ready", async || {
            let pod = self.ready_pod().await?;
            ensure!(pod.uid() != old.uid(), "the old pod {} is still there", old.name_any());
            Ok(pod)
        })
        .await
    }

    async fn ready_pod(&self) -> Result<Pod> {
        let mut pods = self.ready_pods(1).await?;
        pods.pop().context("there is no pod")
    }

    /// The server's pods, which must be this many, and all ready.
    pub(crate) async fn ready_pods(&self, count: usize) -> Result<Vec<Pod>> {
        let pods = self.pods().list(&ListParams::default().labels(LABELS)).await?.items;
        ensure!(pods.len() == count, "there are {} pods instead of {count}", pods.len());
        for pod in &pods {
            if pod.metadata.deletion_timestamp.is_some() || !is_ready(pod) {
                bail!("{} is not ready: {}", pod.name_any(), serde_json::to_string(&pod.status)?);
            }
        }
        Ok(pods)
    }
}

/// Whether the pod is ready.
pub(crate) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}

/// How often its first container was restarted.
pub(crate) fn restarts(pod: &Pod) -> i32 {
    let containers = pod.status.as_ref().and_then(|status| status.container_statuses.as_deref());
    containers.and_then(<[_]>::first).map_or(0, |container| container.restart_count)
}
