//! A drift: one change of a count away from the desired one.

use std::sync::Arc;

use jiff::Timestamp;

use crate::managed_fields::{FieldOwner, Writer};
use crate::observed::Observed;
use crate::own_writes::FIELD_MANAGER;
use crate::replicas::Replicas;
use crate::uid::Uid;

/// One change of a count away from the desired one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// The object it was seen on.
    pub uid: Uid,
    /// Who caused it. `None`: unknown.
    pub by: Option<FieldOwner>,
    /// Who probably caused it, where Kubernetes records nobody: the name of an autoscaler, or a field manager.
    pub likely_by: Option<Arc<str>>,
    /// When it happened or, if that is unknown, when it was seen.
    pub at: Timestamp,
    /// The desired count.
    pub from: Replicas,
    /// The count found instead.
    pub to: Replicas,
}

impl Drift {
    /// Whether both describe the same change, regardless of when each was seen.
    ///
    /// The owner's time is ignored: it changes with every write of the same field manager. So is who is only suspected.
    pub fn is_same_as(&self, other: &Self) -> bool {
        fn writer(drift: &Drift) -> Option<&Writer> {
            drift.by.as_ref().map(|owner| &*owner.writer)
        }
        self.uid == other.uid
            && writer(self) == writer(other)
            && self.from == other.from
            && self.to == other.to
    }

    /// The field manager that caused it; empty when unknown.
    pub fn manager(&self) -> &str {
        self.by.as_ref().map_or("", FieldOwner::manager)
    }

    /// Whether another server of our kind caused it.
    pub fn is_by_another_server(&self) -> bool {
        self.manager() == FIELD_MANAGER
    }

    /// Whether another server of our kind caused it, and the count is still the one that it wrote.
    pub fn is_still_another_servers(&self, observed: &Observed) -> bool {
        self.is_by_another_server() && self.uid == observed.uid && self.to == observed.replicas
    }
}
