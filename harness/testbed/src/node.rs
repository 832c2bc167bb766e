//! A real node with its control plane: pods run, Services have addresses and names, claims get volumes.
//!
//! It lives in network, mount and pid namespaces of its own ([`namespaces`]), and what it writes is in memory
//! ([`mounts`]), so nothing of it can outlive the first process in there, however that ends. What it takes of the host
//! besides, a [`Place`] removes.

mod cgroup;
mod containerd;
mod dns;
mod images;
mod kubelet;
mod mounts;
pub mod namespaces;
mod network;
mod place;
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
pub use place::{Place, SWEEP, sweep};
pub use site::Site;
use tokio::time::{self, Instant};
use volumes::Volumes;

use crate::component::Component;
use crate::control_plane::{ControlPlane, Options};

/// What the node is called.
const NAME: &str = "node";

/// A busy two-core machine takes half a minute.
const READY_DEADLINE: Duration = Duration::from_mins(3);
const POLL: Duration = Duration::from_millis(100);

/// How often it is checked that everything still runs.
const CHECK: Duration = Duration::from_millis(500);

/// A running node. It is stopped on drop.
#[derive(Debug)]
pub struct Node {
    // Dropped from top to bottom: who asks others goes first.
    volumes: Volumes,
    components: Vec<Component>,
    containerd: Component,
    control_plane: ControlPlane,
}

impl Node {
    /// Starts a node in the namespaces that this process is in, and waits until pods can run on it. `say` is told what is
    /// being done.
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

    /// Returns when a part of the node has died, with the end of its log.
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

    /// What a command needs in its environment to work with this node: kubectl and helm, and ctr.
    pub fn environment(&self) -> Vec<(&'static str, OsString)> {
        vec![
            ("KUBECONFIG", self.control_plane.admin_kubeconfig().into()),
            ("CONTAINERD_ADDRESS", containerd::SOCKET.into()),
            ("CONTAINERD_NAMESPACE", containerd::NAMESPACE.into()),
        ]
    }
}
