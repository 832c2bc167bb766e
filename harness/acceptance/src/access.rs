//! Access to Services of the cluster.

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

/// The pause before a port-forward is restarted. It ends with its pod.
const PAUSE: Duration = Duration::from_millis(100);

/// How this process reaches Services.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Access {
    /// By the Service's address, from the network of the node.
    Node,
    /// Through kubectl port-forward, from outside.
    PortForward,
}

/// An address of a Service, valid until this is dropped.
#[derive(Debug)]
pub(crate) struct PortForward {
    pub(crate) address: SocketAddr,
    /// Ends the port-forward on drop.
    _forward: Option<JoinSet<()>>,
}

impl Access {
    /// Makes a port of a Service reachable.
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
                    found.spec.and_then(|spec| spec.cluster_ip).context("the Service has no address")?;
                Ok(PortForward { address: SocketAddr::new(address.parse()?, port), _forward: None })
            }
            Self::PortForward => forward(programs, namespace, service, port).await,
        }
    }
}

/// Forwards a free port, and restarts kubectl whenever it ends.
async fn forward(programs: &Arc<Programs>, namespace: &str, service: &str, port: u16) -> Result<PortForward> {
    // Freed immediately, so kubectl can bind it.
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
