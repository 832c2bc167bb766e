//! Deployments with running pods, for the server to manage.

use anyhow::{Result, ensure};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::Service;
use kube::Api;
use kube::api::PostParams;
use serde_json::{Value, json};

use crate::eventually::eventually;
use crate::fixture::{APPS, Fixture};
use crate::reader::PORT;

/// A file server. As the first process of a container it ignores SIGTERM.
const SCRIPT: &str = "echo ok >/tmp/index.html; exec httpd -f -p 8080 -h /tmp";

impl Fixture {
    /// The Deployments of the applications.
    pub(crate) fn deployments(&self) -> Api<Deployment> {
        Api::namespaced(self.kubernetes.clone(), APPS)
    }

    /// The manifest of a Deployment whose pods serve a file. `None` leaves the count out, as an author might.
    pub(crate) fn manifest(&self, name: &str, replicas: Option<i32>) -> Value {
        let labels = json!({ "app": name });
        let container = json!({
            "name": "httpd",
            "image": self.busybox.to_string(),
            "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-c", SCRIPT],
        });
        let mut spec = json!({
            "selector": { "matchLabels": labels },
            "template": {
                "metadata": { "labels": labels },
                "spec": { "containers": [container], "terminationGracePeriodSeconds": 1 },
            },
        });
        if let Some(replicas) = replicas {
            spec["replicas"] = replicas.into();
        }
        let metadata = json!({ "name": name, "namespace": APPS });
        json!({ "apiVersion": "apps/v1", "kind": "Deployment", "metadata": metadata, "spec": spec })
    }

    /// Creates this Deployment unless an earlier step did, and waits for its pods.
    pub(crate) async fn application(&self, name: &str, replicas: i32) -> Result<()> {
        if self.deployments().get_opt(name).await?.is_none() {
            let deployment = serde_json::from_value(self.manifest(name, Some(replicas)))?;
            self.deployments().create(&PostParams::default(), &deployment).await?;
            self.wait_until_ready(name, replicas).await?;
        }
        Ok(())
    }

    /// Gives the pods of a Deployment an address.
    pub(crate) async fn expose(&self, name: &str) -> Result<()> {
        let service = json!({
            "metadata": { "name": name, "namespace": APPS },
            "spec": { "selector": { "app": name }, "ports": [{ "port": PORT }] },
        });
        let services = Api::<Service>::namespaced(self.kubernetes.clone(), APPS);
        services.create(&PostParams::default(), &serde_json::from_value(service)?).await?;
        Ok(())
    }

    /// Creates this Deployment and sets the same count, so it is managed.
    pub(crate) async fn managed(&self, name: &str, replicas: i32) -> Result<()> {
        self.application(name, replicas).await?;
        let mut session = self.session().await?;
        session.set(name, replicas).await?;
        session.wait_until_in_sync(name).await.map(drop)
    }

    /// The current count.
    pub(crate) async fn count(&self, name: &str) -> Result<Option<i32>> {
        Ok(self.deployments().get(name).await?.spec.and_then(|spec| spec.replicas))
    }

    /// Waits until exactly this many pods exist, all ready.
    pub(crate) async fn wait_until_ready(&self, name: &str, replicas: i32) -> Result<()> {
        eventually(&format!("{name} has {replicas} ready pods"), async || {
            let status = self.deployments().get(name).await?.status.unwrap_or_default();
            let [ready, all] = [status.ready_replicas, status.replicas].map(Option::unwrap_or_default);
            ensure!((ready, all) == (replicas, replicas), "{ready} of {all} pods are ready");
            Ok(())
        })
        .await
    }
}
