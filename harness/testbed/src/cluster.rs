//! Finds or builds the programs of a control plane.
//!
//! No package registry ships a `kube-apiserver` binary, but every Go module proxy has its sources. So the modules under
//! `cluster/` pin the versions, and each program is built once into the user's cache. `KUBEBUILDER_ASSETS` points to
//! binaries to use instead.

mod assets;
mod build;
mod go;
mod module;

use std::path::PathBuf;
use std::{env, iter};

use anyhow::Result;
use assets::Assets;
use module::{KubernetesMinor, Module};

/// A program of the cluster, or a client of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Program {
    /// The database behind the API server.
    Etcd,
    /// The API server.
    ApiServer,
    /// The controllers, which create pods for Deployments.
    ControllerManager,
    /// The Kubernetes client.
    Kubectl,
    /// The gRPC client.
    Grpcurl,
    /// Assigns pods to nodes.
    Scheduler,
    /// Runs the pods of a node.
    Kubelet,
    /// Routes Service addresses on a node.
    Proxy,
    /// Resolves Service names.
    CoreDns,
    /// The Go operator that the benchmarks compare the server with.
    Peer,
}

impl Program {
    /// A control plane and its clients, in build order: the indispensable ones first.
    pub const CONTROL_PLANE: [Self; 5] =
        [Self::Etcd, Self::ApiServer, Self::ControllerManager, Self::Kubectl, Self::Grpcurl];

    /// The programs of a node, besides a control plane.
    pub const NODE: [Self; 4] = [Self::Scheduler, Self::Kubelet, Self::Proxy, Self::CoreDns];

    /// Every program.
    pub fn all() -> impl Iterator<Item = Self> {
        iter::chain(Self::CONTROL_PLANE, Self::NODE).chain([Self::Peer])
    }

    /// The name of its file.
    pub fn name(self) -> &'static str {
        match self {
            Self::Etcd => "etcd",
            Self::ApiServer => "kube-apiserver",
            Self::ControllerManager => "kube-controller-manager",
            Self::Kubectl => "kubectl",
            Self::Grpcurl => "grpcurl",
            Self::Scheduler => "kube-scheduler",
            Self::Kubelet => "kubelet",
            Self::Proxy => "kube-proxy",
            Self::CoreDns => "coredns",
            Self::Peer => "replica-count-peer",
        }
    }

    /// The program with this file name.
    pub fn from_name(name: &str) -> Option<Self> {
        Self::all().find(|program| program.name() == name)
    }
}

/// Finds programs, and builds the missing ones.
#[derive(Debug)]
pub struct Programs {
    kubernetes: KubernetesMinor,
    assets: Option<Assets>,
}

impl Programs {
    /// Reads `KUBEBUILDER_ASSETS` and `KUBERNETES`.
    pub fn from_env() -> Result<Self> {
        let kubernetes = KubernetesMinor::from_env()?;
        let assets = env::var_os("KUBEBUILDER_ASSETS").filter(|dir| !dir.is_empty());
        Ok(Self { kubernetes, assets: assets.map(|dir| Assets::new(PathBuf::from(dir))) })
    }

    /// The path of `program`. Builds it if missing, which blocks for minutes and reports progress on stderr.
    ///
    /// # Errors
    /// Says what is missing and how to get it.
    pub fn ensure(&self, program: Program) -> Result<PathBuf> {
        if let Some(assets) = &self.assets
            && let Some(path) = assets.find(program)?
        {
            return Ok(path);
        }
        build::ensure(&Module::of(program, &self.kubernetes)?, program)
    }
}
