//! Assigns pods to the node.

use anyhow::Result;

use super::Site;
use crate::cluster::Program;
use crate::component::Component;
use crate::control_plane::ControlPlane;

/// Starts kube-scheduler.
pub(super) fn start(site: &Site, control_plane: &ControlPlane) -> Result<Component> {
    let kubeconfig = control_plane.kubeconfig_of("system:kube-scheduler", &[])?;
    site.start(Program::Scheduler, |command| {
        command.arg("--kubeconfig").arg(kubeconfig);
        // There is only one, and nothing connects to it.
        command.args(["--leader-elect=false", "--secure-port=0"]);
    })
}
