//! Marks targets that may need work. All causes of work end here.

use std::sync::Arc;

use replica_count_core::kind::Kind;
use replica_count_core::observed::Observation;
use replica_count_core::target::Target;

use super::work::Work;
use crate::cluster::Cluster;
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
        self.mark_each(self.store.read(|settings| settings.keys().cloned().collect()));
    }

    /// Marks all managed targets of a kind whose workloads do not exist.
    pub fn mark_absent(&self, kind: Kind, cluster: &Cluster) {
        self.mark_each(self.store.read(|settings| {
            let view = cluster.view();
            let mut observation_of = view.observations();
            let targets = settings.keys().filter(|target| target.kind() == kind);
            targets.filter(|target| observation_of(target) == Observation::Absent).cloned().collect()
        }));
    }

    fn mark_each(&self, targets: Vec<Target>) {
        for target in targets {
            self.work.mark(target);
        }
    }
}
