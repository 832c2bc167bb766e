//! The ways in which people change a count, as the HTTP requests that kubectl 1.36 sends: content type, field manager and
//! validation are the same.

use anyhow::{Context as _, Result};
use http::{Method, Request, header};
use kube::Client;
use serde_json::{Value, json};

use crate::sample;

/// A way to change a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Way {
    /// `kubectl scale`.
    Scale,
    /// `kubectl patch --type=json`.
    JsonPatch,
    /// `kubectl patch --type=merge`.
    MergePatch,
    /// `kubectl apply`.
    Apply,
    /// `kubectl apply --server-side --force-conflicts`.
    ServerSideApply,
    /// `kubectl replace`.
    Replace,
    /// `kubectl delete`, and then `kubectl create`.
    Recreate,
}

impl Way {
    pub(super) const ALL: [Self; 7] = [
        Self::Scale,
        Self::JsonPatch,
        Self::MergePatch,
        Self::Apply,
        Self::ServerSideApply,
        Self::Replace,
        Self::Recreate,
    ];

    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Scale => "scale",
            Self::JsonPatch => "JSON patch",
            Self::MergePatch => "merge patch",
            Self::Apply => "apply",
            Self::ServerSideApply => "server-side apply",
            Self::Replace => "replace",
            Self::Recreate => "delete and create",
        }
    }

    /// The counts that are tried. `None`: no count, which the API server takes for 1.
    pub(super) fn counts(self) -> &'static [Option<i32>] {
        const COUNTS: [Option<i32>; 6] = [Some(0), Some(2), None, Some(7), Some(1), Some(50)];
        match self {
            Self::MergePatch | Self::Replace | Self::Recreate => &COUNTS,
            // No count changes nothing there, or is 0.
            Self::Scale | Self::JsonPatch | Self::Apply | Self::ServerSideApply => {
                &[Some(0), Some(2), Some(7), Some(1), Some(50)]
            }
        }
    }
}

/// What became of an attempt.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Answer {
    Accepted,
    /// With this message.
    Refused(String),
}

/// Somebody who changes counts in a namespace, by way of one API server.
pub(super) struct Sender {
    pub(super) client: Client,
    pub(super) namespace: &'static str,
}

const JSON: &str = "application/json";

impl Sender {
    /// Tries to give a Deployment this count.
    pub(super) async fn attempt(&self, way: Way, name: &str, count: Option<i32>) -> Result<Answer> {
        let patch = Method::PATCH;
        match way {
            Way::Scale => {
                let body = json!({ "spec": { "replicas": count } });
                self.send(patch, &format!("/{name}/scale"), "application/merge-patch+json", &body).await
            }
            Way::JsonPatch => {
                let body = json!([{ "op": "replace", "path": "/spec/replicas", "value": count }]);
                let path = format!("/{name}?fieldManager=kubectl-patch");
                self.send(patch, &path, "application/json-patch+json", &body).await
            }
            Way::MergePatch => {
                let body = json!({ "spec": { "replicas": count } });
                let path = format!("/{name}?fieldManager=kubectl-patch");
                self.send(patch, &path, "application/merge-patch+json", &body).await
            }
            Way::Apply => {
                let manifest = manifest(name, count)?.to_string();
                let annotations = json!({ "kubectl.kubernetes.io/last-applied-configuration": manifest });
                let body =
                    json!({ "metadata": { "annotations": annotations }, "spec": { "replicas": count } });
                let path = format!("/{name}?fieldManager=kubectl-client-side-apply&fieldValidation=Strict");
                self.send(patch, &path, "application/strategic-merge-patch+json", &body).await
            }
            Way::ServerSideApply => {
                let path = format!("/{name}?fieldManager=kubectl&fieldValidation=Strict&force=true");
                self.send(patch, &path, "application/apply-patch+yaml", &manifest(name, count)?).await
            }
            Way::Replace => {
                let path = format!("/{name}?fieldManager=kubectl-replace&fieldValidation=Strict");
                self.send(Method::PUT, &path, JSON, &manifest(name, count)?).await
            }
            Way::Recreate => {
                let options = json!({ "propagationPolicy": "Background" });
                self.send(Method::DELETE, &format!("/{name}"), JSON, &options).await?;
                let path = "?fieldManager=kubectl-create&fieldValidation=Strict";
                self.send(Method::POST, path, JSON, &manifest(name, count)?).await
            }
        }
    }

    async fn send(&self, method: Method, path: &str, content_type: &str, body: &Value) -> Result<Answer> {
        let path = format!("/apis/apps/v1/namespaces/{}/deployments{path}", self.namespace);
        let request = Request::builder().method(method).uri(path).header(header::CONTENT_TYPE, content_type);
        match self.client.request_text(request.body(body.to_string().into_bytes())?).await {
            Ok(_) => Ok(Answer::Accepted),
            Err(kube::Error::Api(status)) => Ok(Answer::Refused(status.message.clone())),
            Err(error) => Err(error).context("no answer to an attempt"),
        }
    }
}

/// The file of somebody who wants this count.
pub(super) fn manifest(name: &str, count: Option<i32>) -> Result<Value> {
    let mut manifest = serde_json::to_value(sample::deployment(name, count.unwrap_or_default())?)?;
    if count.is_none() {
        manifest["spec"].as_object_mut().context("a Deployment has no spec")?.remove("replicas");
    }
    Ok(manifest)
}
