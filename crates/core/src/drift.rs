//! A drift: one change of a count away from the desired one.

use jiff::Timestamp;

use crate::managed_fields::{FieldOwner, Writer};
use crate::replicas::Replicas;
use crate::uid::Uid;

/// One change of a count away from the desired one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Drift {
    /// The object it was seen on.
    pub uid: Uid,
    /// Who made it. `None`: unknown.
    pub by: Option<FieldOwner>,
    /// When it was made, or, if that is not known, when it was seen.
    pub at: Timestamp,
    /// The desired count.
    pub from: Replicas,
    /// The count found instead.
    pub to: Replicas,
}

impl Drift {
    /// Whether both describe one and the same change, whenever each was seen.
    ///
    /// The time of the owner does not count: it moves with everything that the same field manager writes.
    pub fn is_same_as(&self, other: &Self) -> bool {
        fn writer(drift: &Drift) -> Option<&Writer> {
            drift.by.as_ref().map(|owner| &*owner.writer)
        }
        self.uid == other.uid
            && writer(self) == writer(other)
            && self.from == other.from
            && self.to == other.to
    }

    /// The field manager that made it; empty when unknown.
    pub fn manager(&self) -> &str {
        self.by.as_ref().map_or("", FieldOwner::manager)
    }
}
