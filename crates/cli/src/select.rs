//! Which workloads a command is about: by name, by label, or all.

use std::collections::HashSet;

use clap::Args;
use k8s_openapi::api::apps::v1::{Deployment, StatefulSet};
use kube::api::{ListParams, PartialObjectMeta};
use kube::{Api, Client, Resource};
use replica_count_api::proto::{GetDeploymentResponse, Kind, ListDeploymentsRequest};

use crate::calls::{ALL_KINDS, Calls};
use crate::connect::Session;
use crate::failure::Failure;
use crate::target::Target;

/// Names, labels, or all.
#[derive(Args, Clone, Debug)]
#[group(required = true, multiple = false)]
pub struct SelectArgs {
    /// Workloads: NAME or KIND/NAME
    #[arg(value_name = "[KIND/]NAME")]
    pub targets: Vec<Target>,
    /// All with these labels, as for kubectl get
    #[arg(short = 'l', long, value_name = "SELECTOR")]
    pub selector: Option<String>,
    /// All of the namespace
    #[arg(long)]
    pub all: bool,
}

/// A workload of a namespace.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Selected {
    /// Its namespace.
    pub namespace: String,
    /// Its kind and name.
    pub target: Target,
    /// Its current count, if the server told.
    pub current: Option<i32>,
}

/// Which workloads of a namespace are meant by labels, or by all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Among {
    /// Those that have a desired count.
    Managed,
    /// Those that have none.
    Unmanaged,
}

impl SelectArgs {
    /// The workloads. Those that are named need not exist.
    pub async fn select(
        &self,
        calls: &Calls,
        namespace: &str,
        among: Among,
    ) -> Result<Vec<Selected>, Failure> {
        if !self.targets.is_empty() {
            if namespace.is_empty() {
                return Err(Failure::usage("a workload cannot be named across all namespaces"));
            }
            let named = self.targets.iter().cloned();
            return Ok(named
                .map(|target| Selected { namespace: namespace.to_owned(), target, current: None })
                .collect());
        }
        let request = ListDeploymentsRequest {
            namespace: namespace.to_owned(),
            include_unmanaged: among == Among::Unmanaged,
            kinds: ALL_KINDS.map(Into::into).to_vec(),
            ..ListDeploymentsRequest::default()
        };
        let rows = calls.list(request).await.map_err(|status| calls.explain("ListDeployments", &status))?;
        let labelled = match &self.selector {
            Some(selector) => Some(labelled(calls.session(), namespace, selector).await?),
            None => None,
        };
        let is_meant = |row: &GetDeploymentResponse| {
            row.other_kind.is_empty()
                && row.desired_replicas.is_some() == (among == Among::Managed)
                && labelled.as_ref().is_none_or(|labelled| labelled.contains(&key(row)))
        };
        Ok(rows
            .into_iter()
            .filter(is_meant)
            .map(|row| Selected {
                target: Target { kind: row.kind(), name: row.name },
                namespace: row.namespace,
                current: row.current_replicas,
            })
            .collect())
    }
}

/// Namespace, kind and name.
type Key = (String, Kind, String);

fn key(row: &GetDeploymentResponse) -> Key {
    (row.namespace.clone(), row.kind(), row.name.clone())
}

/// The workloads with some labels. The server knows no labels, so Kubernetes is asked.
pub async fn labelled(session: &Session, namespace: &str, selector: &str) -> Result<HashSet<Key>, Failure> {
    let context = session.context.as_ref().ok_or_else(|| {
        Failure::new("labels are known only to Kubernetes, and there is no kubeconfig")
            .advise("Name one with --kubeconfig FILE.")
    })?;
    let client = context.client().await?;
    let listing = ListParams::default().labels(selector);
    let mut found = HashSet::new();
    for (kind, listed) in [
        (Kind::Deployment, metadata::<Deployment>(&client, namespace, &listing).await),
        (Kind::StatefulSet, metadata::<StatefulSet>(&client, namespace, &listing).await),
    ] {
        let listed = listed.map_err(|error| {
            Failure::new(format!("the workloads with the labels {selector} cannot be listed: {error}"))
        })?;
        found.extend(listed.into_iter().map(|(namespace, name)| (namespace, kind, name)));
    }
    Ok(found)
}

/// Namespace and name of the objects of a kind.
async fn metadata<K>(
    client: &Client,
    namespace: &str,
    listing: &ListParams,
) -> kube::Result<Vec<(String, String)>>
where
    K: Resource<Scope = kube::core::NamespaceResourceScope, DynamicType = ()>,
    K: Clone + std::fmt::Debug + serde::de::DeserializeOwned,
{
    let api: Api<K> = match namespace {
        "" => Api::all(client.clone()),
        namespace => Api::namespaced(client.clone(), namespace),
    };
    let listed = api.list_metadata(listing).await?;
    Ok(listed.items.into_iter().filter_map(named).collect())
}

fn named<K>(object: PartialObjectMeta<K>) -> Option<(String, String)> {
    Some((object.metadata.namespace?, object.metadata.name?))
}
