//! Everything that the steps of one version of Helm work with.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context as _, Result, bail};
use k8s_openapi::api::core::v1::{Namespace, Node};
use kube::api::{DeleteParams, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Api, Client, Config};
use serde_json::json;
use tempfile::TempDir;

use crate::access::{Access, PortForward};
use crate::arguments::Arguments;
use crate::connections::Connections;
use crate::eventually::eventually;
use crate::helm::Version;
use crate::image::Image;
use crate::programs::Programs;
use crate::repository::Repository;

/// The name of the release, and so of its objects, and its namespace: those of the user's line.
pub(crate) const NAME: &str = "replica-count-manager";

/// The namespace of what is managed. It is somebody else's in the eyes of the release.
pub(crate) const APPS: &str = "acceptance";

/// The namespace of the runner that deploys; see `deploy/eks/rbac.yaml`.
pub(crate) const RUNNERS: &str = "replica-count-manager-runners";

/// All of ours.
const NAMESPACES: [&str; 3] = [NAME, APPS, RUNNERS];

/// What exists while the steps of one version of Helm run.
pub(crate) struct Stage {
    pub(crate) helm: Version,
    pub(crate) kubernetes: Client,
    pub(crate) programs: Arc<Programs>,
    pub(crate) repository: Repository,
    pub(crate) access: Access,
    pub(crate) image: Image,
    pub(crate) next_image: Image,
    pub(crate) busybox: Image,
    pub(crate) podinfo: Option<Image>,
    pub(crate) podinfo_chart: PathBuf,
    pub(crate) values: Option<PathBuf>,
    pub(crate) audit_logs: Vec<PathBuf>,
    /// `None` where they cannot be seen.
    pub(crate) connections: Option<Connections>,
    /// A node that a step has cordoned and not uncordoned yet.
    cordoned: Mutex<Option<String>>,
    folder: TempDir,
}

impl Stage {
    /// Prepares everything for a cluster that has no namespaces of ours. Nothing is created there yet.
    pub(crate) async fn set(arguments: &Arguments, helm: Version) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("replica-count-acceptance-").tempdir()?;
        let programs = Arc::new(Programs::find(helm, &arguments.kubeconfig, folder.path()).await?);
        let kubernetes = client(&arguments.kubeconfig).await?;
        let namespaces = Api::<Namespace>::all(kubernetes.clone());
        for name in NAMESPACES {
            if namespaces.get_opt(name).await?.is_some() {
                bail!("the namespace {name} exists: what is in it would be changed. Choose another cluster");
            }
        }
        let repository = Repository::start(&programs, folder.path()).await?;
        let (access, connections) = if arguments.on_node {
            (Access::Node, Some(Connections::follow(&kubernetes, folder.path())?))
        } else {
            (Access::PortForward, None)
        };
        Ok(Self {
            helm,
            kubernetes,
            programs,
            repository,
            access,
            image: arguments.image.clone(),
            next_image: arguments.next_image.clone(),
            busybox: arguments.busybox.clone(),
            podinfo: arguments.podinfo.clone(),
            podinfo_chart: arguments.podinfo_chart.clone(),
            values: arguments.values.clone(),
            audit_logs: arguments.audit_log.clone(),
            connections,
            cordoned: Mutex::default(),
            folder,
        })
    }

    /// Creates the namespace that the steps work in.
    pub(crate) async fn open(&self) -> Result<()> {
        let apps = serde_json::from_value(json!({ "metadata": { "name": APPS } }))?;
        Api::<Namespace>::all(self.kubernetes.clone()).create(&PostParams::default(), &apps).await?;
        Ok(())
    }

    /// Cordons a node, until [`Self::uncordon`] or [`Self::clear`].
    pub(crate) async fn cordon(&self, node: &str) -> Result<()> {
        *self.cordoned.lock().unwrap_or_else(PoisonError::into_inner) = Some(node.to_owned());
        Api::<Node>::all(self.kubernetes.clone()).cordon(node).await?;
        Ok(())
    }

    pub(crate) async fn uncordon(&self) -> Result<()> {
        let cordoned = self.cordoned.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if let Some(node) = cordoned {
            let context = || format!("cannot uncordon the node {node}");
            Api::<Node>::all(self.kubernetes.clone()).uncordon(&node).await.with_context(context)?;
            *self.cordoned.lock().unwrap_or_else(PoisonError::into_inner) = None;
        }
        Ok(())
    }

    /// Removes whatever the steps left, so that the next version of Helm finds the cluster as it was.
    pub(crate) async fn clear(&self) -> Result<()> {
        let uncordoned = self.uncordon().await;
        self.remove().await.and(uncordoned)
    }

    async fn remove(&self) -> Result<()> {
        // Not there any more if its step went well.
        let _ = self.uninstall().await;
        let runner = format!("{NAME}-runner-deploy");
        let rights = ["kubectl", "delete", "clusterroles,clusterrolebindings", "--ignore-not-found", &runner];
        self.programs.run(rights).await?;
        let namespaces = Api::<Namespace>::all(self.kubernetes.clone());
        for name in NAMESPACES {
            if namespaces.get_opt(name).await?.is_some() {
                namespaces.delete(name, &DeleteParams::default()).await?;
            }
        }
        eventually("the namespaces are gone", async || {
            for name in NAMESPACES {
                if namespaces.get_opt(name).await?.is_some() {
                    bail!("{name} is there");
                }
            }
            Ok(())
        })
        .await
    }

    /// A new folder for files of a step.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.folder.path().join(name);
        std::fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    }

    /// An address that leads to a port of the server's Service.
    pub(crate) async fn port_forward(&self, port: u16) -> Result<PortForward> {
        self.port_forward_to(NAME, NAME, port).await
    }

    /// An address that leads to a port of a Service.
    pub(crate) async fn port_forward_to(
        &self,
        namespace: &str,
        service: &str,
        port: u16,
    ) -> Result<PortForward> {
        self.access.open(&self.kubernetes, &self.programs, (namespace, service, port)).await
    }
}

async fn client(kubeconfig: &Path) -> Result<Client> {
    let kubeconfig = Kubeconfig::read_from(kubeconfig)?;
    let config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    Ok(Client::try_from(config)?)
}
