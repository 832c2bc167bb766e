//! A real node with its control plane: pods run, Services have addresses and names, claims get volumes.
//!
//! It runs in its own network, mount and pid namespaces ([`namespaces`]) and keeps its files in memory ([`mounts`]), so
//! nothing outlives the first process in there, however that ends. [`HostResources`] removes what it uses of the host
//! besides.

mod cgroup;
mod containerd;
mod dns;
mod host_resources;
mod images;
mod kubelet;
mod mounts;
pub mod namespaces;
mod network;
mod proxy;
mod readiness;
pub mod requirements;
mod scheduler;
mod site;
mod volumes;

use std::convert::Infallible;
use std::ffi::OsString;
use std::time::Duration;

use anyhow::{Result, bail};
pub use host_resources::{HostResources, SWEEP, sweep};
pub use site::Site;
use tokio::time::{self, Instant};
use volumes::Volumes;

use crate::component::Component;
use crate::control_plane::{ControlPlane, Options};

/// The name of the node.
const NAME: &str = "node";

/// A busy two-core machine takes half a minute.
const READY_DEADLINE: Duration = Duration::from_mins(3);
const POLL: Duration = Duration::from_millis(100);

/// How often to check that everything still runs.
const CHECK: Duration = Duration::from_millis(500);

/// A running node. It is stopped on drop.
#[derive(Debug)]
pub struct Node {
    // Dropped from top to bottom: clients before their servers.
    volumes: Volumes,
    components: Vec<Component>,
    containerd: Component,
    control_plane: ControlPlane,
}

impl Node {
    /// Starts a node in the namespaces of this process, and waits until pods can run on it. Reports progress to `say`.
    pub async fn start(site: &Site, options: Options, say: impl Fn(&str)) -> Result<Self> {
        mounts::prepare(site)?;
        network::prepare()?;
        say("starting etcd, kube-apiserver, kube-controller-manager and containerd");
        let options = options.for_node(network::NODE_ADDRESS, site.folder().to_owned());
        let (control_plane, containerd) =
            tokio::try_join!(ControlPlane::start(options), containerd::start(site))?;
        say("starting kubelet, kube-scheduler, kube-proxy and coredns");
        let components = vec![
            kubelet::start(site, &control_plane)?,
            scheduler::start(site, &control_plane)?,
            proxy::start(site, &control_plane)?,
            dns::start(site, &control_plane)?,
        ];
        let volumes = Volumes::start(site, &control_plane).await?;
        let mut this = Self { volumes, components, containerd, control_plane };
        say("waiting until the node is ready");
        this.until_ready().await?;
        Ok(this)
    }

    async fn until_ready(&mut self) -> Result<()> {
        let client = self.control_plane.admin().await?;
        let deadline = Instant::now() + READY_DEADLINE;
        while let Some(missing) = readiness::missing(&client).await {
            self.check_alive().await?;
            if Instant::now() >= deadline {
                let tails: String = self.components.iter().map(Component::tail_with_name).collect();
                bail!("the node was not ready within {READY_DEADLINE:?}: {missing}\n{tails}");
            }
            time::sleep(POLL).await;
        }
        Ok(())
    }

    /// Returns an error with the end of its log when a part of the node has died.
    pub async fn watch(&mut self) -> Result<Infallible> {
        loop {
            self.check_alive().await?;
            time::sleep(CHECK).await;
        }
    }

    async fn check_alive(&mut self) -> Result<()> {
        self.volumes.check_alive().await?;
        for component in &mut self.components {
            component.check_alive()?;
        }
        self.containerd.check_alive()?;
        self.control_plane.check_alive()
    }

    /// The environment variables that kubectl, helm and ctr need to work with this node.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        vec![
            ("KUBECONFIG", self.control_plane.admin_kubeconfig().into()),
            ("CONTAINERD_ADDRESS", containerd::SOCKET.into()),
            ("CONTAINERD_NAMESPACE", containerd::NAMESPACE.into()),
        ]
    }
}
