//! The fixture that all steps with one version of Helm share.

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

/// The name of the release, its objects and its namespace, as in the documented commands.
pub(crate) const NAME: &str = "replica-count-manager";

/// The namespace of the managed applications. It does not belong to the release.
pub(crate) const APPS: &str = "acceptance";

/// The namespace of the deploy runner; see `deploy/eks/rbac.yaml`.
pub(crate) const RUNNERS: &str = "replica-count-manager-runners";

/// All namespaces that the tests use.
const NAMESPACES: [&str; 3] = [NAME, APPS, RUNNERS];

/// Everything the steps need.
pub(crate) struct Fixture {
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
    /// `None` if connections cannot be traced here.
    pub(crate) connections: Option<Connections>,
    /// The node that is currently cordoned.
    cordoned: Mutex<Option<String>>,
    folder: TempDir,
}

impl Fixture {
    /// Prepares everything outside the cluster. Fails if one of the namespaces exists already.
    pub(crate) async fn prepare(arguments: &Arguments, helm: Version) -> Result<Self> {
        let folder = tempfile::Builder::new().prefix("replica-count-acceptance-").tempdir()?;
        let programs = Arc::new(Programs::find(helm, &arguments.kubeconfig, folder.path()).await?);
        let kubernetes = client(&arguments.kubeconfig).await?;
        let namespaces = Api::<Namespace>::all(kubernetes.clone());
        for name in NAMESPACES {
            if namespaces.get_opt(name).await?.is_some() {
                bail!("the namespace {name} exists, and the tests would change it: choose another cluster");
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

    /// Creates the namespace of the applications.
    pub(crate) async fn create_namespace(&self) -> Result<()> {
        let apps = serde_json::from_value(json!({ "metadata": { "name": APPS } }))?;
        Api::<Namespace>::all(self.kubernetes.clone()).create(&PostParams::default(), &apps).await?;
        Ok(())
    }

    /// Cordons a node until [`Self::uncordon`] or [`Self::clean_up`].
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

    /// Removes everything that the steps left in the cluster.
    pub(crate) async fn clean_up(&self) -> Result<()> {
        let uncordoned = self.uncordon().await;
        self.remove().await.and(uncordoned)
    }

    async fn remove(&self) -> Result<()> {
        // Fails if the uninstall step has already succeeded.
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
                    bail!("{name} still exists");
                }
            }
            Ok(())
        })
        .await
    }

    /// Creates a folder for the files of a step.
    pub(crate) fn folder(&self, name: &str) -> Result<PathBuf> {
        let path = self.folder.path().join(name);
        std::fs::create_dir(&path).with_context(|| format!("cannot create {}", path.display()))?;
        Ok(path)
    }

    /// Makes a port of the server's Service reachable.
    pub(crate) async fn port_forward(&self, port: u16) -> Result<PortForward> {
        self.port_forward_to(NAME, NAME, port).await
    }

    /// Makes a port of a Service reachable.
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
