//! What the cluster says of one Deployment: only what a decision or a read needs.

use std::num::NonZeroU64;

use crate::managed_fields::FieldOwner;
use crate::replicas::Replicas;
use crate::uid::Uid;

/// One Deployment as the API server last showed it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// `metadata.uid`: tells a re-created Deployment from the one before it.
    pub uid: Uid,
    /// `metadata.resourceVersion`, which orders two observations of one Deployment. `None`: not a number, so not
    /// comparable.
    pub resource_version: Option<NonZeroU64>,
    /// `spec.replicas`.
    pub replicas: Replicas,
    /// `status.readyReplicas`.
    pub ready: i32,
    /// Whether it has a deletion timestamp: it is on its way out and left alone.
    pub deleting: bool,
    /// Who owns `spec.replicas`. `None`: unknown.
    pub owner: Option<FieldOwner>,
}

impl Observed {
    /// Whether this observation of the same object is older than `other`.
    pub fn is_older_than(&self, other: &Self) -> bool {
        self.uid == other.uid
            && matches!((self.resource_version, other.resource_version), (Some(own), Some(others)) if own < others)
    }
}

/// What is known of a target in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation<'a> {
    /// The cluster has not been read yet.
    Unread,
    /// There is no such Deployment.
    Absent,
    /// There is one.
    Present(&'a Observed),
}

impl Observation<'_> {
    /// Whether there is a workload that is not being deleted.
    pub fn is_alive(&self) -> bool {
        match self {
            Self::Present(observed) => !observed.deleting,
            Self::Unread | Self::Absent => false,
        }
    }
}
