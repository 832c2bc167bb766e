//! Whether the server is ready, and whether it reaches Kubernetes.

use std::sync::Arc;

use kube::Client;

use crate::cluster::{Cluster, Freshness};
use crate::http::Probe;
use crate::kubernetes::reads;

/// Answers the questions of probes.
#[derive(Clone)]
pub(super) struct Health {
    pub(super) client: Client,
    pub(super) cluster: Arc<Cluster>,
}

impl Probe for Health {
    async fn kubernetes(&self) -> Result<(), String> {
        reads::reach(&self.client).await.map_err(|error| error.to_string())
    }

    /// The store is open from the start, so it is the cluster that makes the difference.
    fn ready(&self) -> Result<(), String> {
        match self.cluster.view().freshness() {
            Freshness::Unread => Err("the cluster has not been read yet".to_owned()),
            Freshness::Live | Freshness::Stale { .. } => Ok(()),
        }
    }
}
