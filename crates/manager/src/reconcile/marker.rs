//! Marks targets that may need work. Whatever needs work ends here.

use std::sync::Arc;

use replica_count_core::kind::Kind;
use replica_count_core::target::Target;

use super::work::Work;
use crate::store::Store;

/// Marks those targets that are managed. Clones mark in the same queue.
#[derive(Clone, Debug)]
pub struct Marker {
    /// What is managed.
    pub store: Store,
    /// The queue.
    pub work: Arc<Work>,
}

impl Marker {
    /// Marks a target, if it is managed.
    pub fn mark(&self, target: &Target) {
        if self.store.read(|settings| settings.contains_key(target)) {
            self.work.mark(target.clone());
        }
    }

    /// Marks all managed targets.
    pub fn mark_all(&self) {
        self.mark_where(|_| true);
    }

    /// Marks all managed targets of a kind.
    pub fn mark_kind(&self, kind: Kind) {
        self.mark_where(|target| target.kind() == kind);
    }

    fn mark_where(&self, is_meant: impl Fn(&Target) -> bool) {
        let managed: Vec<Target> =
            self.store.read(|settings| settings.keys().filter(|target| is_meant(target)).cloned().collect());
        for target in managed {
            self.work.mark(target);
        }
    }
}
