//! Routes Service addresses.

use std::net::{Ipv4Addr, SocketAddr};

use anyhow::Result;
use serde_json::json;

use super::{NAME, Site, network};
use crate::cluster::Program;
use crate::component::Component;
use crate::control_plane::ControlPlane;

/// Serves `/healthz`, which reports whether its rules are in place.
pub(super) const HEALTH: SocketAddr = SocketAddr::new(std::net::IpAddr::V4(Ipv4Addr::LOCALHOST), 10256);

/// Starts kube-proxy.
pub(super) fn start(site: &Site, control_plane: &ControlPlane) -> Result<Component> {
    let kubeconfig = control_plane.kubeconfig_of("system:kube-proxy", &[])?;
    let configuration = json!({
        "apiVersion": "kubeproxy.config.k8s.io/v1alpha1",
        "kind": "KubeProxyConfiguration",
        "mode": "iptables",
        "clientConnection": { "kubeconfig": kubeconfig },
        "hostnameOverride": NAME,
        "clusterCIDR": network::PODS,
        "healthzBindAddress": HEALTH,
        // Leaves these limits alone: they apply to the whole machine.
        "conntrack": {
            "maxPerCore": 0,
            "min": 0,
            "tcpEstablishedTimeout": "0s",
            "tcpCloseWaitTimeout": "0s",
        },
    });
    let configuration = site.write_json("kube-proxy.json", &configuration)?;
    site.start(Program::Proxy, |command| {
        command.arg("--config").arg(configuration);
    })
}
