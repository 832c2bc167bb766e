//! A realistic Deployment: deployed by Helm, with labels, annotations, environment variables, and a status from a
//! controller. It has more than 3 kB of JSON, much of it `managedFields`, which the API server adds.

use anyhow::{Context as _, Result};
use k8s_openapi::api::apps::v1::Deployment;
use serde_json::{Value, json};

/// Its creator.
pub(crate) const CREATOR: &str = "helm";

/// The owner of its status.
pub(crate) const CONTROLLER: &str = "kube-controller-manager";

/// The number of variables of its container.
const VARIABLES: usize = 4;

/// The Deployment with this name.
pub(crate) fn deployment(name: &str, replicas: i32) -> Result<Deployment> {
    let selector = json!({ "app.kubernetes.io/name": name, "app.kubernetes.io/instance": name });
    let labels = json!({
        "app.kubernetes.io/name": name,
        "app.kubernetes.io/instance": name,
        "app.kubernetes.io/version": "4.18.2",
        "app.kubernetes.io/component": "backend",
        "app.kubernetes.io/part-of": "storefront",
        "app.kubernetes.io/managed-by": "Helm",
        "helm.sh/chart": "storefront-backend-4.18.2",
        "team": "checkout",
    });
    let annotations = json!({
        "meta.helm.sh/release-name": name,
        "meta.helm.sh/release-namespace": "storefront",
        "deployment.kubernetes.io/revision": "17",
        "example.com/owner": "checkout-team@example.com",
        "example.com/runbook": format!("https://runbooks.example.com/checkout/{name}"),
    });
    let object = json!({
        "metadata": { "name": name, "labels": labels, "annotations": annotations },
        "spec": {
            "replicas": replicas,
            "revisionHistoryLimit": 5,
            "selector": { "matchLabels": selector },
            "strategy": { "type": "RollingUpdate", "rollingUpdate": { "maxSurge": "25%", "maxUnavailable": 0 } },
            "template": {
                "metadata": { "labels": labels, "annotations": { "prometheus.io/scrape": "true" } },
                "spec": { "serviceAccountName": name, "containers": [container(name)] },
            },
        },
    });
    serde_json::from_value(object).context("the sample Deployment is not valid")
}

/// The status that [`CONTROLLER`] would write once all replicas are ready.
pub(crate) fn status(replicas: i32) -> Value {
    let condition = |kind: &str, reason: &str, message: &str| {
        json!({
            "type": kind, "status": "True", "reason": reason, "message": message,
            "lastTransitionTime": "2026-01-02T03:04:05Z", "lastUpdateTime": "2026-01-02T03:04:05Z",
        })
    };
    json!({ "status": {
        "observedGeneration": 1,
        "replicas": replicas,
        "updatedReplicas": replicas,
        "readyReplicas": replicas,
        "availableReplicas": replicas,
        "conditions": [
            condition("Available", "MinimumReplicasAvailable", "Deployment has minimum availability."),
            condition("Progressing", "NewReplicaSetAvailable", "ReplicaSet has successfully progressed."),
        ],
    } })
}

fn container(name: &str) -> Value {
    let variables: Vec<Value> = (0..VARIABLES)
        .map(|number| json!({ "name": format!("SETTING_{number:02}"), "value": format!("value-{number}") }))
        .collect();
    json!({
        "name": "backend",
        "image": format!("registry.example.com/storefront/{name}:4.18.2"),
        "args": ["--listen=:8080", "--log-format=json"],
        "ports": [{ "name": "http", "containerPort": 8080 }],
        "env": variables,
        "resources": { "requests": { "cpu": "100m", "memory": "128Mi" }, "limits": { "memory": "256Mi" } },
        "readinessProbe": { "httpGet": { "path": "/readyz", "port": "http" }, "periodSeconds": 10 },
        "securityContext": { "runAsNonRoot": true, "allowPrivilegeEscalation": false },
    })
}
