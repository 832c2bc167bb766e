//! The isolated network of a node.

use std::fs;
use std::io::Write as _;
use std::net::Ipv4Addr;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};
use serde_json::{Value, json};

use super::Site;

/// The node's address for pods.
pub(super) const NODE_ADDRESS: Ipv4Addr = Ipv4Addr::new(10, 88, 0, 1);

/// The address range of pods.
pub(super) const PODS: &str = "10.88.1.0/24";

/// A bridge without ports stands in for the node's network card. Service addresses need the default route, because a
/// packet must have a route before its address is translated.
const DEVICES: &str = "\
link set lo up
link add node0 type bridge
address add 10.88.0.1/24 dev node0
link set node0 up
route add default dev node0
";

/// Prepares the network namespace that this process is in.
pub(super) fn prepare() -> Result<()> {
    let mut ip = Command::new("ip")
        .args(["-batch", "-"])
        .stdin(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .context("cannot run ip")?;
    ip.stdin.take().context("the stdin of ip is piped")?.write_all(DEVICES.as_bytes())?;
    let output = ip.wait_with_output()?;
    if !output.status.success() {
        bail!("cannot set up the network: {}", String::from_utf8_lossy(&output.stderr).trim());
    }
    fs::write("/proc/sys/net/ipv4/ip_forward", "1").context("cannot enable packet forwarding")
}

/// The network of pods: each has a point-to-point link to the node, which routes. This translates addresses without the
/// kernel module that a bridge would need.
pub(super) fn of_pods(site: &Site) -> Result<Value> {
    let addresses = json!({
        "type": "host-local",
        "ranges": [[{ "subnet": PODS }]],
        "routes": [{ "dst": "0.0.0.0/0" }],
        "dataDir": site.subfolder("pod-addresses")?,
    });
    let plugins = json!([
        { "type": "ptp", "ipam": addresses },
        { "type": "portmap", "capabilities": { "portMappings": true } },
    ]);
    Ok(json!({ "cniVersion": "0.4.0", "name": "pods", "plugins": plugins }))
}
