//! Streams to a pod of the server through the API server, as `kubectl port-forward` makes them.

use std::sync::Arc;

use futures_util::future::BoxFuture;
use k8s_openapi::api::core::v1::Pod;
use k8s_openapi::apimachinery::pkg::util::intstr::IntOrString;
use kube::api::ListParams;
use kube::{Api, Client};
use replica_count_client::dial::{Dial, DialError, Stream};

use super::service::ServerService;

/// Opens streams to a ready pod of a Service, whichever is there at the time.
#[derive(Clone)]
pub(super) struct Forward {
    pods: Api<Pod>,
    service: ServerService,
}

impl Forward {
    pub(super) fn new(client: Client, service: ServerService) -> Self {
        Self { pods: Api::namespaced(client, &service.namespace), service }
    }

    async fn open(&self) -> Result<Box<dyn Stream>, DialError> {
        let pods = self.pods.list(&ListParams::default().labels(&self.service.selector)).await?.items;
        let mut ready: Vec<_> = pods.iter().filter(|pod| is_ready(pod)).collect();
        fastrand::shuffle(&mut ready);
        let pod = ready.first().ok_or_else(|| {
            format!("no pod of the Service {} is ready ({} are not)", self.service, pods.len())
        })?;
        let name = pod.metadata.name.as_deref().unwrap_or_default();
        let port = self.port(pod).ok_or_else(|| format!("the pod {name} has no port for its Service"))?;
        let mut forwarder = self.pods.portforward(name, &[port]).await?;
        Ok(Box::new(forwarder.take_stream(port).expect("it was asked for")))
    }

    fn port(&self, pod: &Pod) -> Option<u16> {
        let number = match &self.service.target_port {
            IntOrString::Int(number) => *number,
            IntOrString::String(name) => {
                let containers = &pod.spec.as_ref()?.containers;
                let mut ports = containers.iter().flat_map(|container| container.ports.iter().flatten());
                ports.find(|port| port.name.as_ref() == Some(name))?.container_port
            }
        };
        u16::try_from(number).ok()
    }
}

impl std::fmt::Debug for Forward {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Forward").field("service", &self.service).finish_non_exhaustive()
    }
}

impl Dial for Forward {
    fn dial(self: Arc<Self>) -> BoxFuture<'static, Result<Box<dyn Stream>, DialError>> {
        Box::pin(async move { self.open().await })
    }
}

pub(super) fn is_ready(pod: &Pod) -> bool {
    let conditions = pod.status.as_ref().and_then(|status| status.conditions.as_deref()).unwrap_or_default();
    pod.metadata.deletion_timestamp.is_none()
        && conditions.iter().any(|condition| condition.type_ == "Ready" && condition.status == "True")
}
