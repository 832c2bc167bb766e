//! Marks targets that may need work. All causes of work end here.

use std::sync::Arc;

use replica_count_core::kind::Kind;
use replica_count_core::target::Target;

use super::work::Work;
use crate::store::Store;

/// Marks targets that are managed. Clones share the queue.
#[derive(Clone, Debug)]
pub struct Marker {
    /// The managed targets.
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

    fn mark_where(&self, matches: impl Fn(&Target) -> bool) {
        let managed: Vec<Target> =
            self.store.read(|settings| settings.keys().filter(|target| matches(target)).cloned().collect());
        for target in managed {
            self.work.mark(target);
        }
    }
}
