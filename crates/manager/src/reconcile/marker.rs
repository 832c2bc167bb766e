//! Marks targets that may need work. All causes of work end here.

use std::sync::Arc;

use replica_count_core::kind::Kind;
use replica_count_core::observed::Observation;
use replica_count_core::target::Target;

use crate::cluster::Cluster;
use crate::store::Store;
use crate::work::Work;

/// Marks targets that are managed. Clones share the queue.
#[derive(Clone, Debug)]
pub struct Marker {
    /// The managed targets.
    pub store: Store,
    /// The queue.
    pub work: Arc<Work>,
}

impl Marker {
    /// Whether a target is managed.
    pub fn is_managed(&self, target: &Target) -> bool {
        self.store.read(|settings| settings.contains_key(target))
    }

    /// Marks a target, if it is managed; returns whether it is.
    pub fn mark(&self, target: &Target) -> bool {
        let is_managed = self.is_managed(target);
        if is_managed {
            self.work.mark(target.clone());
        }
        is_managed
    }

    /// Marks all managed targets.
    pub fn mark_all(&self) {
        self.mark_each(self.store.read(|settings| settings.keys().cloned().collect()));
    }

    /// Marks all managed targets of a namespace.
    pub fn mark_namespace(&self, namespace: &str) {
        self.mark_each(self.store.read(|settings| {
            settings.keys().filter(|target| target.namespace() == namespace).cloned().collect()
        }));
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
