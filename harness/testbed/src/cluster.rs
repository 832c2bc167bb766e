//! The programs a control plane is made of, and where they come from.
//!
//! No registry ships a `kube-apiserver` binary, but every Go module proxy has its sources. So the modules under
//! `cluster/` pin the versions, and each program is built once into a cache of the user. Who has binaries already
//! points `KUBEBUILDER_ASSETS` at them.

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
    /// The controllers that turn Deployments into pods.
    ControllerManager,
    /// The command line of Kubernetes.
    Kubectl,
    /// The command line of gRPC.
    Grpcurl,
    /// Gives pods a node.
    Scheduler,
    /// Runs the pods of a node.
    Kubelet,
    /// Makes the addresses of Services work on a node.
    Proxy,
    /// Makes the names of Services work.
    CoreDns,
    /// The Go operator that the benchmarks compare the server with.
    Peer,
}

impl Program {
    /// A control plane and its clients, in the order in which they are built: what it cannot do without comes first.
    pub const CONTROL_PLANE: [Self; 5] =
        [Self::Etcd, Self::ApiServer, Self::ControllerManager, Self::Kubectl, Self::Grpcurl];

    /// What a node needs besides a control plane.
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

    /// The path of `program`, which is built first if need be. That takes minutes and blocks; progress goes to stderr.
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
