//! The desired side: changes of settings update the records and mark the target.

use std::sync::Arc;

use replica_count_core::change::Changed;
use replica_count_core::event::Event;
use replica_count_core::policy::Policy;
use replica_count_core::replicas::Replicas;
use replica_count_core::target::Target;
use tracing::warn;

use super::marker::Marker;
use super::records::Records;
use super::report::Report;
use super::statuses::Statuses;
use crate::clock;
use crate::guards::Guards;
use crate::history::shared::Told;
use crate::kubernetes::replica_count::ObjectKey;
use crate::store::Subscriber;

/// Subscribes to the store.
pub struct DesiredSubscriber {
    /// The records of managed targets.
    pub records: Arc<Records>,
    /// The store and the queue.
    pub marker: Marker,
    /// The server-wide policy.
    pub policy: Arc<Policy>,
    /// The guards, which get the change before the workload does.
    pub guards: Arc<Guards>,
    /// Where events are reported.
    pub report: Report,
    /// The status of ReplicaCounts, if there are any.
    pub statuses: Option<Arc<Statuses>>,
}

impl Subscriber for DesiredSubscriber {
    /// Reports the change before it marks the target, so that what the change causes is reported after it.
    fn changed(&self, changed: &Changed) {
        self.records.apply(changed);
        if let Some(event) = Event::of_change(changed) {
            self.report.emit(event);
        }
        if let Some(target) = changed.target.known() {
            self.guards.mark(target.namespace());
            self.marker.work.mark(target.clone());
        }
    }

    /// Marks all stored targets, and warns about what this server never enforces.
    fn filled(&self) {
        let store = &self.marker.store;
        store.read_all(|stored| {
            for (target, entry) in &stored.unsupported {
                warn!(%target, reason = &*entry.reason, "stored and kept, but not enforced");
            }
        });
        let now = clock::now().wall;
        let managed: Vec<(Target, Replicas)> = store.read(|settings| {
            settings.iter().map(|(target, setting)| (target.clone(), setting.count_at(now))).collect()
        });
        for (target, desired) in managed {
            if let Err(reason) = self.policy.scope.check(&target) {
                warn!(%target, %reason, "stored but not enforced");
            }
            self.records.insert_stored(target.clone(), desired);
            self.guards.mark(target.namespace());
            self.marker.work.mark(target);
        }
        // Guards of namespaces without a setting.
        self.guards.mark_all();
    }

    fn resumed(&self) {
        self.marker.mark_all();
        self.guards.mark_all();
    }

    fn objects_changed(&self, keys: &[ObjectKey]) {
        if let Some(statuses) = &self.statuses {
            for key in keys {
                statuses.mark_object(key.clone());
            }
        }
    }

    fn told(&self, told: Told) {
        self.report.told(told);
    }

    fn shown(&self, version: u64) {
        self.report.shown(version);
    }

    fn listed(&self, version: u64) {
        self.report.listed(version);
    }
}
