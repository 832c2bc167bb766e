//! An admission webhook for the `scale` of workloads, called by the real API server.

use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use anyhow::{Context as _, Result};
use http_body_util::{BodyExt as _, Collected, Full};
use hyper::body::{Bytes, Incoming};
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use k8s_openapi::ByteString;
use k8s_openapi::api::admissionregistration::v1::ValidatingWebhookConfiguration;
use kube::api::{Api, DeleteParams, PostParams};
use serde_json::{Value, json};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::sleep;
use tokio_rustls::TlsAcceptor;

use crate::ControlPlane;

/// How the webhook answers.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Verdict {
    /// It allows the request.
    #[default]
    Allow,
    /// It allows the request after a while.
    AllowAfter(Duration),
    /// It denies the request with this HTTP status.
    Deny(u16),
}

/// The condition of a webhook for all writes.
pub const ALL: &str = "true";
/// The condition of a webhook for the writes of the server under test.
pub const OF_SERVER: &str = "request.userInfo.username.endsWith(':replica-count-manager')";

/// A running webhook. A drop stops it; the API server then refuses what it was registered for.
#[derive(Debug)]
pub struct Webhook {
    url: String,
    verdict: Arc<Mutex<Verdict>>,
    serving: JoinHandle<()>,
}

impl Webhook {
    /// Starts a webhook on a free port.
    pub async fn start(control_plane: &ControlPlane) -> Result<Self> {
        let acceptor = control_plane.tls_acceptor("webhook")?;
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("there is no free port")?;
        let url = format!("https://{}/", listener.local_addr()?);
        let verdict = Arc::new(Mutex::new(Verdict::default()));
        let serving = tokio::spawn(serve(listener, acceptor, Arc::clone(&verdict)));
        Ok(Self { url, verdict, serving })
    }

    /// Answers like this from now on.
    pub fn answer(&self, verdict: Verdict) {
        *self.verdict.lock().unwrap_or_else(PoisonError::into_inner) = verdict;
    }

    /// Makes the API server call it for every write of a `scale` in a namespace that meets a condition in CEL.
    pub async fn register(
        &self,
        control_plane: &ControlPlane,
        namespace: &str,
        condition: &str,
    ) -> Result<()> {
        let authority = ByteString(std::fs::read(control_plane.certificate_authority())?);
        let configuration: ValidatingWebhookConfiguration = serde_json::from_value(json!({
            "metadata": { "name": namespace },
            "webhooks": [{
                "name": "webhook.testbed.local",
                "clientConfig": { "url": self.url, "caBundle": authority },
                "namespaceSelector": { "matchLabels": { "kubernetes.io/metadata.name": namespace } },
                "rules": [{
                    "apiGroups": ["apps"],
                    "apiVersions": ["v1"],
                    "operations": ["UPDATE"],
                    "resources": ["deployments/scale", "statefulsets/scale"],
                }],
                "matchConditions": [{ "name": "condition", "expression": condition }],
                "failurePolicy": "Fail",
                "timeoutSeconds": 30,
                "sideEffects": "None",
                "admissionReviewVersions": ["v1"],
            }],
        }))?;
        let webhooks: Api<ValidatingWebhookConfiguration> = Api::all(control_plane.admin().await?);
        webhooks.create(&PostParams::default(), &configuration).await?;
        Ok(())
    }

    /// Removes what [`register`](Self::register) made.
    pub async fn unregister(control_plane: &ControlPlane, namespace: &str) -> Result<()> {
        let webhooks: Api<ValidatingWebhookConfiguration> = Api::all(control_plane.admin().await?);
        webhooks.delete(namespace, &DeleteParams::default()).await?;
        Ok(())
    }
}

impl Drop for Webhook {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

/// Accepts connections, and closes them when dropped.
async fn serve(listener: TcpListener, acceptor: TlsAcceptor, verdict: Arc<Mutex<Verdict>>) {
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                let Ok((stream, _)) = accepted else { continue };
                let (acceptor, verdict) = (acceptor.clone(), Arc::clone(&verdict));
                connections.spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else { return };
                    let service = service_fn(|request| review(Arc::clone(&verdict), request));
                    let _ = http1::Builder::new().serve_connection(TokioIo::new(stream), service).await;
                });
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn review(
    verdict: Arc<Mutex<Verdict>>,
    request: Request<Incoming>,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let body = request.into_body().collect().await.map(Collected::to_bytes).unwrap_or_default();
    let review: Value = serde_json::from_slice(&body).unwrap_or_default();
    let verdict = *verdict.lock().unwrap_or_else(PoisonError::into_inner);
    if let Verdict::AllowAfter(delay) = verdict {
        sleep(delay).await;
    }
    let status = match verdict {
        Verdict::Allow | Verdict::AllowAfter(_) => Value::Null,
        Verdict::Deny(code) => json!({ "code": code, "message": "not today" }),
    };
    let response = json!({ "uid": review["request"]["uid"], "allowed": status.is_null(), "status": status });
    let answer = json!({
        "apiVersion": "admission.k8s.io/v1",
        "kind": "AdmissionReview",
        "response": response,
    });
    let answer = Full::new(Bytes::from(answer.to_string()));
    Ok(Response::builder().header("content-type", "application/json").body(answer).expect("valid"))
}
