//! Runs the pods of the node.

use anyhow::Result;
use serde_json::json;

use super::{NAME, Site, containerd, network};
use crate::cluster::Program;
use crate::component::Component;
use crate::control_plane::ControlPlane;

/// Starts kubelet, which registers the node.
pub(super) fn start(site: &Site, control_plane: &ControlPlane) -> Result<Component> {
    let certificate = control_plane.server_certificate("kubelet", network::NODE_ADDRESS)?;
    let kubeconfig = control_plane.kubeconfig_of(&format!("system:node:{NAME}"), &["system:nodes"])?;
    let root = site.subfolder("kubelet")?;
    let configuration = json!({
        "apiVersion": "kubelet.config.k8s.io/v1beta1",
        "kind": "KubeletConfiguration",
        "containerRuntimeEndpoint": format!("unix://{}", containerd::SOCKET),
        "authentication": {
            "anonymous": { "enabled": false },
            "webhook": { "enabled": true },
            "x509": { "clientCAFile": control_plane.certificate_authority() },
        },
        "authorization": { "mode": "Webhook" },
        "tlsCertFile": certificate.certificate,
        "tlsPrivateKeyFile": certificate.key,
        "clusterDNS": [network::NODE_ADDRESS],
        "clusterDomain": "cluster.local",
        // There is no outside network, so no outside names.
        "resolvConf": "",
        "cgroupDriver": "cgroupfs",
        "cgroupRoot": site.cgroup()?,
        "failCgroupV1": false,
        "failSwapOn": false,
        "volumePluginDir": root.join("volume-plugins"),
        // Files are in memory, so disk usage is meaningless, and a removed image could not be pulled again.
        "evictionHard": { "memory.available": "50Mi" },
        "imageGCHighThresholdPercent": 100,
    });
    let configuration = site.write_json("kubelet.json", &configuration)?;
    site.start(Program::Kubelet, |command| {
        command.arg("--config").arg(configuration).arg("--kubeconfig").arg(kubeconfig);
        command.arg("--root-dir").arg(root);
        command.args(["--hostname-override", NAME, "--node-ip", &network::NODE_ADDRESS.to_string()]);
    })
}
