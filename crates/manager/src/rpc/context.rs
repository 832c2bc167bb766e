//! What all RPCs use.

use std::sync::Arc;

use kube::Client;
use replica_count_core::policy::Policy;
use replica_count_core::replicas::Replicas;

use tokio_util::sync::CancellationToken;

use super::authorize::Authorizer;
use super::list_queue::ListQueue;
use super::status::Refusal;
use crate::cluster::Cluster;
use crate::guards::Guards;
use crate::history::shared::SharedHistory;
use crate::leadership::Leadership;
use crate::reconcile::records::Records;
use crate::store::Store;
use crate::traces::Traces;

/// What all RPCs use.
pub struct Context {
    /// The desired state.
    pub store: Store,
    /// What clients may do.
    pub authorizer: Authorizer,
    /// The observed state.
    pub cluster: Arc<Cluster>,
    /// The records of managed targets.
    pub records: Arc<Records>,
    /// The server-wide policy.
    pub policy: Arc<Policy>,
    /// What the API server keeps.
    pub guards: Arc<Guards>,
    /// What happened.
    pub history: SharedHistory,
    /// Who enforces.
    pub leadership: Leadership,
    /// Cancelled when the server ends.
    pub ending: CancellationToken,
    /// The largest count that is accepted.
    pub max_replicas: Replicas,
    /// The API server, for workloads that the watches may not have shown yet.
    pub client: Client,
    /// What requests lead to.
    pub traces: Traces,
    /// Serialises ListDeployments calls.
    pub lists: ListQueue,
}

impl Context {
    /// Checks that the settings are known.
    pub(super) fn check_read(&self) -> Result<(), Refusal> {
        if self.store.is_read() { Ok(()) } else { Err(Refusal::Unread) }
    }
}
