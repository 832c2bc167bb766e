//! How a client gets to a Service of the cluster.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Stdio;
use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Service;
use kube::{Api, Client};
use tokio::net::TcpListener;
use tokio::process::Child;
use tokio::task::JoinSet;
use tokio::time;

use crate::eventually::eventually;
use crate::programs::Programs;

/// Between the end of a port-forward, which does not survive its pod, and the next.
const PAUSE: Duration = Duration::from_millis(100);

/// From where this process looks at the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// From the network of the node, by the address of the Service.
    Node,
    /// From outside, through kubectl.
    PortForward,
}

/// An address that leads to a Service for as long as this lives.
#[derive(Debug)]
pub(crate) struct PortForward {
    pub(crate) address: SocketAddr,
    /// Ends the port-forward when it is dropped.
    _forward: Option<JoinSet<()>>,
}

impl Access {
    /// Opens a way to a port of a Service.
    pub(crate) async fn open(
        self,
        kubernetes: &Client,
        programs: &Arc<Programs>,
        (namespace, service, port): (&str, &str, u16),
    ) -> Result<PortForward> {
        match self {
            Self::Node => {
                let found = Api::<Service>::namespaced(kubernetes.clone(), namespace).get(service).await?;
                let address =
                    found.spec.and_then(|spec| spec.cluster_ip).context("a Service without address")?;
                Ok(PortForward { address: SocketAddr::new(address.parse()?, port), _forward: None })
            }
            Self::PortForward => forward(programs, namespace, service, port).await,
        }
    }
}

/// Forwards a free port, again and again.
async fn forward(programs: &Arc<Programs>, namespace: &str, service: &str, port: u16) -> Result<PortForward> {
    // Freed at once: kubectl takes it a moment later.
    let local = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?.local_addr()?;
    let words = [
        "kubectl".to_owned(),
        "port-forward".to_owned(),
        format!("--namespace={namespace}"),
        format!("service/{service}"),
        format!("{}:{port}", local.port()),
    ];
    let programs = Arc::clone(programs);
    let mut forward = JoinSet::new();
    forward.spawn(async move {
        loop {
            if let Ok(mut child) = spawn(&programs, &words) {
                let _ = child.wait().await;
            }
            time::sleep(PAUSE).await;
        }
    });
    eventually("the port-forward listens", async || {
        tokio::net::TcpStream::connect(local).await.map(drop).context("nothing listens")
    })
    .await?;
    Ok(PortForward { address: local, _forward: Some(forward) })
}

fn spawn(programs: &Programs, words: &[String]) -> Result<Child> {
    let mut command = programs.command(Path::new("/"), words);
    Ok(command.stdout(Stdio::null()).stderr(Stdio::null()).spawn()?)
}
