//! The pods of the server, and what each of them says about itself.

use jiff::Timestamp;
use k8s_openapi::api::core::v1::Pod;
use kube::Api;
use kube::api::ListParams;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::context::chain;
use super::forward::is_ready;
use super::session::{Route, Session};
use crate::failure::Failure;

/// The label with the version, as the chart sets it.
const VERSION: &str = "app.kubernetes.io/version";
/// The name of the port with the metrics.
const PORT: &str = "http";
/// More metrics than a server has.
const LONGEST: u64 = 4 << 20;

/// A pod of the server.
#[derive(Clone, Debug)]
pub struct ServerPod {
    /// Its name.
    pub name: String,
    /// Its node. Empty: it has none yet.
    pub node: String,
    /// Whether it serves.
    pub ready: bool,
    /// The version of its image.
    pub version: String,
    /// When it started.
    pub started: Option<Timestamp>,
    /// Its metrics, if they can be read.
    pub metrics: Option<String>,
}

impl Session {
    /// The pods behind the Service of the server. `None`: it was reached at an address, so they are not known.
    pub async fn pods(&self) -> Result<Option<Vec<ServerPod>>, Failure> {
        let (Route::Forward(service), Some(context)) = (&self.route, &self.context) else { return Ok(None) };
        let pods = Api::<Pod>::namespaced(context.client().await?, &service.namespace);
        let listed = pods.list(&ListParams::default().labels(&service.selector)).await;
        let listed = listed.map_err(|error| {
            Failure::new(format!("the pods of the Service {service} cannot be listed: {}", chain(&error)))
        })?;
        let mut found = Vec::new();
        for pod in listed.items {
            let metrics = if is_ready(&pod) { metrics(&pods, &pod).await } else { None };
            found.push(server_pod(&pod, metrics));
        }
        Ok(Some(found))
    }
}

impl ServerPod {
    /// The value of a metric without labels, or with exactly these.
    pub fn metric(&self, name: &str) -> Option<f64> {
        let lines = self.metrics.as_deref()?.lines();
        let mut values =
            lines.filter_map(|line| line.strip_prefix("replica_count_manager_")?.strip_prefix(name));
        values.find_map(|rest| rest.strip_prefix(' ')?.trim().parse().ok())
    }
}

fn server_pod(pod: &Pod, metrics: Option<String>) -> ServerPod {
    let metadata = &pod.metadata;
    let label = metadata.labels.as_ref().and_then(|labels| labels.get(VERSION));
    let started = pod.status.as_ref().and_then(|status| status.start_time.as_ref());
    ServerPod {
        name: metadata.name.clone().unwrap_or_default(),
        node: pod.spec.as_ref().and_then(|spec| spec.node_name.clone()).unwrap_or_default(),
        ready: is_ready(pod),
        version: label.cloned().unwrap_or_else(|| "unknown".to_owned()),
        started: started.map(|started| started.0),
        metrics,
    }
}

/// Reads the metrics through a port-forward.
async fn metrics(pods: &Api<Pod>, pod: &Pod) -> Option<String> {
    let mut ports =
        pod.spec.iter().flat_map(|spec| &spec.containers).flat_map(|one| one.ports.iter().flatten());
    let port = ports.find(|port| port.name.as_deref() == Some(PORT))?.container_port;
    let port = u16::try_from(port).ok()?;
    let mut forwarder = pods.portforward(pod.metadata.name.as_deref()?, &[port]).await.ok()?;
    let mut stream = forwarder.take_stream(port)?;
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n").await.ok()?;
    let mut answer = String::new();
    stream.take(LONGEST).read_to_string(&mut answer).await.ok()?;
    answer.starts_with("HTTP/1.1 200").then_some(answer)
}
