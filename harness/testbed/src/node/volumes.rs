//! A volume provisioner for the default class: a folder on the node for each claim.
//!
//! The provisioner of kube-controller-manager makes volumes that only root can write. Volumes of type `local` are given
//! to the `fsGroup` of the pod, as in a cloud. And as in a cloud, a volume is created when the first pod needs it.

use std::fs;
use std::path::PathBuf;

use anyhow::{Context as _, Result, anyhow};
use futures_util::stream::BoxStream;
use futures_util::{StreamExt as _, TryStreamExt as _};
use k8s_openapi::api::core::v1::{PersistentVolume, PersistentVolumeClaim};
use k8s_openapi::api::storage::v1::StorageClass;
use kube::api::{Api, DeleteParams, WatchEvent, WatchParams};
use kube::{Client, Resource, ResourceExt};
use serde::de::DeserializeOwned;
use serde_json::json;
use tokio::task::JoinHandle;

use super::{NAME, Site};
use crate::control_plane::ControlPlane;
use crate::control_plane::objects::ensure;

/// The name of the StorageClass.
const CLASS: &str = "standard";

const PROVISIONER: &str = "replicacount.dev/testbed";

/// Tells the controllers that an external provisioner deletes the volume.
const PROVISIONED_BY: &str = "pv.kubernetes.io/provisioned-by";

/// Set by the scheduler once a pod with this claim will run on the node.
const SELECTED_NODE: &str = "volume.kubernetes.io/selected-node";

/// The provisioner. It ends on drop.
#[derive(Debug)]
pub(super) struct Volumes {
    task: JoinHandle<Result<()>>,
}

impl Volumes {
    /// Creates the class and starts the provisioner.
    pub(super) async fn start(site: &Site, control_plane: &ControlPlane) -> Result<Self> {
        let client = control_plane.client_as("testbed-volumes").await?;
        let class = json!({
            "metadata": {
                "name": CLASS,
                "annotations": { "storageclass.kubernetes.io/is-default-class": "true" },
            },
            "provisioner": PROVISIONER,
            "reclaimPolicy": "Delete",
            "volumeBindingMode": "WaitForFirstConsumer",
        });
        ensure::<StorageClass>(&Api::all(client.clone()), class).await?;
        let provisioner = Provisioner { client, folder: site.subfolder("volumes")? };
        let task = tokio::spawn(async move {
            tokio::try_join!(provisioner.serve_claims(), provisioner.reclaim_volumes()).map(drop)
        });
        Ok(Self { task })
    }

    /// Fails if it has ended.
    pub(super) async fn check_alive(&mut self) -> Result<()> {
        if !self.task.is_finished() {
            return Ok(());
        }
        let ended = (&mut self.task).await.map_err(|error| anyhow!("it panicked: {error}"))?;
        ended.and_then(|()| Err(anyhow!("it ended"))).context("the provisioner of volumes")
    }
}

impl Drop for Volumes {
    fn drop(&mut self) {
        self.task.abort();
    }
}

struct Provisioner {
    client: Client,
    folder: PathBuf,
}

impl Provisioner {
    async fn serve_claims(&self) -> Result<()> {
        let api: Api<PersistentVolumeClaim> = Api::all(self.client.clone());
        loop {
            let mut claims = states(&api).await?;
            while let Some(claim) = claims.try_next().await? {
                if is_waiting(&claim) {
                    self.provision(&claim).await?;
                }
            }
        }
    }

    async fn reclaim_volumes(&self) -> Result<()> {
        let api: Api<PersistentVolume> = Api::all(self.client.clone());
        loop {
            let mut volumes = states(&api).await?;
            while let Some(volume) = volumes.try_next().await? {
                if is_released(&volume) {
                    self.reclaim(&volume.name_any()).await?;
                }
            }
        }
    }

    async fn provision(&self, claim: &PersistentVolumeClaim) -> Result<()> {
        let uid = claim.uid().context("a claim has no uid")?;
        let name = format!("pvc-{uid}");
        let path = self.folder.join(&name);
        fs::create_dir_all(&path).with_context(|| format!("cannot create {}", path.display()))?;
        let spec = claim.spec.as_ref().context("a claim has no spec")?;
        let node = json!({ "key": "kubernetes.io/hostname", "operator": "In", "values": [NAME] });
        let volume = json!({
            "metadata": { "name": name, "annotations": { PROVISIONED_BY: PROVISIONER } },
            "spec": {
                "storageClassName": CLASS,
                "persistentVolumeReclaimPolicy": "Delete",
                "accessModes": spec.access_modes,
                "capacity": spec.resources.as_ref().and_then(|resources| resources.requests.as_ref()),
                "claimRef": {
                    "apiVersion": "v1",
                    "kind": "PersistentVolumeClaim",
                    "namespace": claim.namespace(),
                    "name": claim.name_any(),
                    "uid": uid,
                },
                "local": { "path": path },
                "nodeAffinity": { "required": { "nodeSelectorTerms": [{ "matchExpressions": [node] }] } },
            },
        });
        ensure::<PersistentVolume>(&Api::all(self.client.clone()), volume).await
    }

    async fn reclaim(&self, name: &str) -> Result<()> {
        let path = self.folder.join(name);
        match fs::remove_dir_all(&path) {
            Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
                return Err(error).with_context(|| format!("cannot remove {}", path.display()));
            }
            Ok(()) | Err(_) => {}
        }
        let volumes: Api<PersistentVolume> = Api::all(self.client.clone());
        match volumes.delete(name, &DeleteParams::default()).await {
            Err(kube::Error::Api(status)) if status.code == 404 => Ok(()),
            result => Ok(result.map(drop)?),
        }
    }
}

/// Streams every object in each of its states, starting with the existing ones. The API server ends the stream after
/// some minutes.
async fn states<K>(api: &Api<K>) -> Result<BoxStream<'static, Result<K>>>
where
    K: Resource + Clone + std::fmt::Debug + DeserializeOwned + Send + 'static,
{
    let events = api.watch(&WatchParams::default(), "0").await?;
    let states = events.map_err(anyhow::Error::from).try_filter_map(async |event| match event {
        WatchEvent::Added(object) | WatchEvent::Modified(object) => Ok(Some(object)),
        WatchEvent::Deleted(_) | WatchEvent::Bookmark(_) => Ok(None),
        WatchEvent::Error(status) => Err(anyhow!("{status:?}")),
    });
    Ok(states.boxed())
}

fn is_waiting(claim: &PersistentVolumeClaim) -> bool {
    let spec = claim.spec.as_ref();
    let is_of_class = spec.and_then(|spec| spec.storage_class_name.as_deref()) == Some(CLASS);
    let is_unbound = spec.is_none_or(|spec| spec.volume_name.is_none());
    is_of_class && is_unbound && has_annotation(claim, SELECTED_NODE, NAME)
}

fn is_released(volume: &PersistentVolume) -> bool {
    let phase = volume.status.as_ref().and_then(|status| status.phase.as_deref());
    phase == Some("Released") && has_annotation(volume, PROVISIONED_BY, PROVISIONER)
}

fn has_annotation(object: &impl ResourceExt, key: &str, value: &str) -> bool {
    object.annotations().get(key).is_some_and(|found| found == value)
}
