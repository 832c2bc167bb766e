//! Whether the server is ready, and whether it reaches Kubernetes.

use std::sync::Arc;

use kube::Client;

use crate::cluster::{Cluster, Freshness, Watched};
use crate::kubernetes::reads;
use crate::net::http::Probe;

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

    /// The store is open from the start, so it is the cluster that makes the difference. Autoscalers are waited for,
    /// so that no Set slips through, but not where the right to see them is missing.
    fn ready(&self) -> Result<(), String> {
        let view = self.cluster.view();
        match view.freshness(Watched::Deployments) {
            Freshness::Unread => return Err("the cluster has not been read yet".to_owned()),
            Freshness::Refused => {
                return Err("the API server refuses to show Deployments; see the log".to_owned());
            }
            Freshness::Live | Freshness::Stale { .. } => {}
        }
        match view.freshness(Watched::Autoscalers) {
            Freshness::Unread => Err("the autoscalers have not been read yet".to_owned()),
            Freshness::Refused | Freshness::Live | Freshness::Stale { .. } => Ok(()),
        }
    }
}
