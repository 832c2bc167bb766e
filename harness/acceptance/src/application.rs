//! Deployments with pods that run, for the server to manage.

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::eventually::eventually;
use crate::stage::{APPS, Stage};

impl Stage {
    /// Deployments of the applications.
    pub(crate) fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.kubernetes.clone(), APPS)
    }

    /// A Deployment of pods that do nothing, as a manifest; no count: as its author leaves it out.
    pub(crate) fn manifest(&self, name: &str, replicas: Option<i32>) -> Value {
        let labels = json!({ "app": name });
        let container = json!({
            "name": "sleep",
            "image": self.busybox.to_string(),
            "imagePullPolicy": "IfNotPresent",
            "command": ["sleep", "2147483647"],
        });
        let mut spec = json!({
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                // The first process of a container ignores SIGTERM unless it asks for it.
                "spec": { "containers": [container], "terminationGracePeriodSeconds": 1 },
            },
        });
        if let Some(replicas) = replicas {
            spec["replicas"] = replicas.into();
        }
        let metadata = json!({ "name": name, "namespace": APPS });
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec })
    }

    /// Creates that Deployment, unless an earlier step did, and waits for its pods.
    pub(crate) async fn application(&self, name: &str, replicas: i32) -> Result<()> {
        if self.deployments().get_opt(name).await?.is_none() {
            let deployment = serde_json::from_value(self.manifest(name, Some(replicas)))?;
            self.deployments().create(&PostParams::default(), &deployment).await?;
            self.until_ready(name, replicas).await?;
        }
        Ok(())
    }

    /// Creates that Deployment and manages it with the count it has.
    pub(crate) async fn managed(&self, name: &str, replicas: i32) -> Result<()> {
        self.application(name, replicas).await?;
        let mut session = self.session().await?;
        session.set(name, replicas).await?;
        session.until_in_sync(name).await.map(drop)
    }

    /// The count in the cluster.
    pub(crate) async fn count(&self, name: &str) -> Result<Option<i32>> {
        Ok(self.deployments().get(name).await?.spec.and_then(|spec| spec.replicas))
    }

    /// Awaits this count of pods that run, and no others.
    pub(crate) async fn until_ready(&self, name: &str, replicas: i32) -> Result<()> {
        eventually(&format!("{name} has {replicas} ready pods"), async || {
            let status = self.deployments().get(name).await?.status.unwrap_or_default();
            let [ready, all] = [status.ready_replicas, status.replicas].map(Option::unwrap_or_default);
            ensure!((ready, all) == (replicas, replicas), "{ready} of {all} pods are ready");
            Ok(())
        })
        .await
    }
}
