//! The feed of durable changes: updates memory, and then notifies the subscriber.

use replica_count_core::change::Changed;
use replica_count_core::stored::Entry;

use super::mirror::Mirror;
use crate::history::shared::Told;
use crate::kubernetes::replica_count::ObjectKey;

/// Is notified of the changes of a store.
pub trait Subscriber {
    /// A setting has changed. Memory is up to date, but the caller has no answer yet. So the resulting work is not lost
    /// if nobody waits for the answer. All callers wait for this, so it must be quick.
    fn changed(&self, changed: &Changed);

    /// All settings have been read for the first time. Memory is up to date.
    fn filled(&self) {}

    /// Settings may be enforced again, after a time in which they may not have been current.
    fn resumed(&self) {}

    /// These objects of the API server have changed, or what counts beside them.
    fn objects_changed(&self, keys: &[ObjectKey]) {
        let _ = keys;
    }

    /// An object of the API server tells what happened to its target.
    fn told(&self, told: Told) {
        let _ = told;
    }

    /// The API server has shown everything that could be read in this version.
    fn shown(&self, version: u64) {
        let _ = version;
    }

    /// The API server has listed everything that can be read in this version, and not what was there before.
    fn listed(&self, version: u64) {
        let _ = version;
    }
}

impl Subscriber for Box<dyn Subscriber + Send + Sync> {
    fn changed(&self, changed: &Changed) {
        (**self).changed(changed);
    }

    fn filled(&self) {
        (**self).filled();
    }

    fn resumed(&self) {
        (**self).resumed();
    }

    fn objects_changed(&self, keys: &[ObjectKey]) {
        (**self).objects_changed(keys);
    }

    fn told(&self, told: Told) {
        (**self).told(told);
    }

    fn shown(&self, version: u64) {
        (**self).shown(version);
    }

    fn listed(&self, version: u64) {
        (**self).listed(version);
    }
}

impl<F: Fn(&Changed)> Subscriber for F {
    fn changed(&self, changed: &Changed) {
        self(changed);
    }
}

/// Receives durable changes from a backend.
pub(super) struct Feed<S> {
    mirror: Mirror,
    subscriber: S,
}

impl<S: Subscriber> Feed<S> {
    pub(super) fn new(mirror: Mirror, subscriber: S) -> Self {
        Self { mirror, subscriber }
    }

    /// All that is stored, in memory.
    pub(super) fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    pub(super) fn subscriber(&self) -> &S {
        &self.subscriber
    }

    /// Publishes a change after which `entry` is stored.
    pub(super) fn publish_entry(&self, changed: &Changed, entry: Option<Entry>) {
        self.mirror.set(&changed.target, entry);
        self.subscriber.changed(changed);
    }

    /// Publishes changes, in the order in which they were applied.
    pub(super) fn publish(&self, changes: &[Changed]) {
        if !changes.is_empty() {
            self.mirror.apply(changes);
        }
        for changed in changes {
            self.subscriber.changed(changed);
        }
    }
}
