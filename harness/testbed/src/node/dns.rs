//! Resolves Service names. Runs on the node rather than in a pod, so it needs no image.

use std::net::{IpAddr, Ipv4Addr, SocketAddr};

use anyhow::Result;

use super::{Site, network};
use crate::cluster::Program;
use crate::component::Component;
use crate::control_plane::ControlPlane;

/// Serves `/ready`, which reports whether it knows the Services.
pub(super) const HEALTH: SocketAddr = SocketAddr::new(IpAddr::V4(Ipv4Addr::LOCALHOST), 8181);

/// Starts CoreDNS.
pub(super) fn start(site: &Site, control_plane: &ControlPlane) -> Result<Component> {
    let kubeconfig = control_plane.kubeconfig_as("coredns")?;
    let configuration = format!(
        ".:53 {{
    bind {address}
    errors
    ready {HEALTH}
    kubernetes cluster.local in-addr.arpa {{
        kubeconfig {kubeconfig}
        pods insecure
    }}
}}
",
        address = network::NODE_ADDRESS,
        kubeconfig = kubeconfig.display(),
    );
    let configuration = site.write("Corefile", &configuration)?;
    site.start(Program::CoreDns, |command| {
        command.arg("-conf").arg(configuration);
    })
}
