//! The baseline for the downtime of a replacement: the simplest pod that is replaced in the same way as the server.

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::core::v1::PersistentVolumeClaim;
use kube::Api;
use kube::api::PostParams;
use serde_json::json;

use crate::fixture::{APPS, Fixture, NAME};
use crate::reader::PORT;

pub(crate) const TRIVIAL: &str = "trivial";

/// A file server that ends immediately on SIGTERM, which the first process of a container ignores by default. The file
/// is on the volume, where the next pod finds it.
const SCRIPT: &str =
    "trap 'exit 0' TERM; [ -e /mnt/index.html ] || echo ok >/mnt/index.html; httpd -f -p 8080 -h /mnt & wait";

impl Fixture {
    /// Creates the trivial pod, with a volume, probes and security context like the server's, and waits for it.
    pub(crate) async fn trivial(&self) -> Result<()> {
        let ours = Api::<Deployment>::namespaced(self.kubernetes.clone(), NAME).get(NAME).await?;
        let template = ours.spec.context("a Deployment has a spec")?.template;
        let pod = template.spec.context("a pod has a spec")?;
        let server = pod.containers.first().context("a pod has a container")?;
        let labels = json!({ "app": TRIVIAL });
        let metadata = json!({ "name": TRIVIAL, "namespace": APPS });
        let mut container = json!({
            "name": TRIVIAL,
            "image": self.busybox.to_string(),
            "imagePullPolicy": "IfNotPresent",
            "command": ["sh", "-c", SCRIPT],
            "ports": [{ "name": "http", "containerPort": PORT }],
            "volumeMounts": [{ "name": "volume", "mountPath": "/mnt" }],
            "resources": server.resources,
            "securityContext": server.security_context,
        });
        let probes = json!({
            "startupProbe": server.startup_probe,
            "livenessProbe": server.liveness_probe,
            "readinessProbe": server.readiness_probe,
        });
        for (name, probe) in probes.as_object().into_iter().flatten() {
            container[name] = probe.clone();
            container[name]["httpGet"]["path"] = "/index.html".into();
        }
        let claim = json!({
            "metadata": metadata,
            "spec": { "accessModes": ["ReadWriteOnce"], "resources": { "requests": { "storage": "16Mi" } } },
        });
        let deployment = json!({
            "metadata": metadata,
            "spec": {
                "replicas": 1,
                "strategy": { "type": "Recreate" },
                "selector": { "matchLabels": labels },
                "template": { "metadata": { "labels": labels }, "spec": {
                    "containers": [container],
                    "securityContext": pod.security_context,
                    "volumes": [{ "name": "volume", "persistentVolumeClaim": { "claimName": TRIVIAL } }],
                } },
            },
        });
        let (client, new) = (&self.kubernetes, PostParams::default());
        let claims = Api::<PersistentVolumeClaim>::namespaced(client.clone(), APPS);
        claims.create(&new, &serde_json::from_value(claim)?).await?;
        self.deployments().create(&new, &serde_json::from_value(deployment)?).await?;
        self.expose(TRIVIAL).await?;
        self.wait_until_ready(TRIVIAL, 1).await
    }

    /// Replaces the pod, and waits for the new one.
    pub(crate) async fn replace_trivial(&self, round: usize) -> Result<()> {
        let (deployment, round) = (format!("deployment/{TRIVIAL}"), format!("ROUND={round}"));
        self.programs.run(["kubectl", "set", "env", "--namespace", APPS, &deployment, &round]).await?;
        self.programs.run(["kubectl", "rollout", "status", "--namespace", APPS, &deployment]).await.map(drop)
    }
}
