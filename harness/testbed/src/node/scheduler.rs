//! Gives pods the node, once what they need is there.

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
        // There is one, and nobody asks it for anything.
        command.args(["--leader-elect=false", "--secure-port=0"]);
    })
}
