//! The observed state of one workload: only what decisions and reads need.

use std::num::NonZeroU64;

use crate::managed_fields::FieldOwner;
use crate::replicas::Replicas;
use crate::uid::Uid;

/// One workload as last reported by the API server.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Observed {
    /// `metadata.uid`: distinguishes a re-created workload from the one before it.
    pub uid: Uid,
    /// `metadata.resourceVersion`, which orders two observations of one workload. `None`: not a number, so not
    /// comparable.
    pub resource_version: Option<NonZeroU64>,
    /// `spec.replicas`.
    pub replicas: Replicas,
    /// `status.readyReplicas`.
    pub ready: i32,
    /// The same before `spec.replicas` had this value, if that was observed of the object.
    pub ready_before: i32,
    /// Whether it has a deletion timestamp. Such a workload is left alone.
    pub deleting: bool,
    /// Who owns `spec.replicas`. `None`: unknown.
    pub owner: Option<FieldOwner>,
}

impl Observed {
    /// Whether this is an older observation of the same object than `other`.
    pub fn is_older_than(&self, other: &Self) -> bool {
        self.uid == other.uid
            && matches!((self.resource_version, other.resource_version), (Some(mine), Some(theirs)) if mine < theirs)
    }
}

/// What is known of a target's workload in the cluster.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Observation<'a> {
    /// The cluster has not been read yet.
    Unread,
    /// The workload does not exist.
    Absent,
    /// The workload exists.
    Present(&'a Observed),
}

impl<'a> Observation<'a> {
    /// The workload. `None`: it is not known or does not exist.
    pub fn present(self) -> Option<&'a Observed> {
        match self {
            Self::Present(observed) => Some(observed),
            Self::Unread | Self::Absent => None,
        }
    }

    /// Whether the workload exists and is not being deleted.
    pub fn is_alive(&self) -> bool {
        match self {
            Self::Present(observed) => !observed.deleting,
            Self::Unread | Self::Absent => false,
        }
    }
}
