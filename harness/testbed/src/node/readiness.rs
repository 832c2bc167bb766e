//! Checks whether pods can run.

use std::net::SocketAddr;

use anyhow::Result;
use k8s_openapi::api::core::v1::{Node, ServiceAccount};
use kube::Client;
use kube::api::Api;

use super::{NAME, dns, proxy};
use crate::http;

/// The first part that is not ready yet, with the reason.
pub(super) async fn missing(client: &Client) -> Option<String> {
    let checks = [
        ("the node", node(client).await),
        ("the ServiceAccount of pods", service_account(client).await),
        ("kube-proxy", answers(proxy::HEALTH, "/healthz").await),
        ("coredns", answers(dns::HEALTH, "/ready").await),
    ];
    checks.into_iter().find_map(|(what, result)| match result {
        Ok(()) => None,
        Err(error) => Some(format!("{what}: {error:#}")),
    })
}

async fn node(client: &Client) -> Result<()> {
    let node = Api::<Node>::all(client.clone()).get(NAME).await?;
    let conditions = node.status.and_then(|status| status.conditions).unwrap_or_default();
    let ready = conditions.into_iter().find(|condition| condition.type_ == "Ready");
    match ready {
        Some(ready) if ready.status == "True" => {}
        Some(ready) => anyhow::bail!("{}", ready.message.unwrap_or_default()),
        None => anyhow::bail!("it has not reported its state"),
    }
    // A taint keeps pods off the node until a controller has seen it ready.
    let taints = node.spec.and_then(|spec| spec.taints).unwrap_or_default();
    anyhow::ensure!(taints.is_empty(), "it has the taint {}", taints[0].key);
    Ok(())
}

async fn service_account(client: &Client) -> Result<()> {
    Api::<ServiceAccount>::default_namespaced(client.clone()).get("default").await?;
    Ok(())
}

async fn answers(address: SocketAddr, path: &str) -> Result<()> {
    let (status, body) = http::get(address, path).await?;
    anyhow::ensure!(status == 200, "{status} {body}");
    Ok(())
}
