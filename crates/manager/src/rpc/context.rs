//! What all RPCs work on.

use std::sync::Arc;

use kube::Client;
use replica_count_core::policy::Policy;
use replica_count_core::replicas::Replicas;
use tokio::sync::Mutex;

use crate::cluster::Cluster;
use crate::reconcile::records::Records;
use crate::store::Store;

/// What all RPCs work on.
pub struct Context {
    /// What is desired.
    pub store: Store,
    /// What is observed.
    pub cluster: Arc<Cluster>,
    /// What happened.
    pub records: Arc<Records>,
    /// The server-wide policy.
    pub policy: Arc<Policy>,
    /// The largest count that is accepted.
    pub max_replicas: Replicas,
    /// The API server, for what the watches may not have shown yet.
    pub client: Client,
    /// Serialises listings. They take long, and many at once would keep other requests waiting.
    pub lists: Mutex<()>,
}
