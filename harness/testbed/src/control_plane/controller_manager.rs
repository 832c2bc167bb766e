//! The controllers of a control plane. Nothing waits for them to be ready, because they act asynchronously anyway.

use std::path::Path;

use anyhow::Result;

use super::Options;
use super::authority::Authority;
use super::options::Controllers;
use crate::component::Component;
use crate::parent_death;

/// The user to which Kubernetes grants the rights of the controllers.
pub(super) const USER: &str = "system:kube-controller-manager";

/// The controllers that create pods for Deployments, scale them, and clean up after deleted objects.
const WORKLOADS: &str = "deployment-controller,replicaset-controller,horizontal-pod-autoscaler-controller,\
                         serviceaccount-controller,namespace-controller,garbage-collector-controller";

/// The files it needs.
pub(super) struct Files<'a> {
    pub(super) program: &'a Path,
    pub(super) kubeconfig: &'a Path,
    pub(super) authority: &'a Authority,
}

pub(super) fn start(options: &Options, files: &Files<'_>, folder: &Path) -> Result<Component> {
    let controllers = match options.controllers {
        Controllers::Nothing => "",
        Controllers::Workloads => WORKLOADS,
        Controllers::All => "*",
    };
    let mut command = parent_death::command(&options.testbed, files.program);
    command
        .arg("--kubeconfig")
        .arg(files.kubeconfig)
        .args(["--controllers", controllers])
        // Pods get it with their token, to verify the API server.
        .arg("--root-ca-file")
        .arg(files.authority.certificate())
        // Each controller gets its own rights, as in a real cluster.
        .arg("--use-service-account-credentials")
        .arg("--leader-elect=false")
        // Nothing connects to it.
        .args(["--secure-port", "0"])
        // Instead of every 15 seconds.
        .args(["--horizontal-pod-autoscaler-sync-period", "1s"])
        // The defaults of 20 and 30 requests a second would make a mass test wait for the controllers.
        .args(["--kube-api-qps", "500", "--kube-api-burst", "1000"]);
    Component::start("kube-controller-manager", command, folder.join("kube-controller-manager.log"))
}
