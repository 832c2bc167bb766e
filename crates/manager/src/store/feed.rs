//! The feed of durable changes: updates memory, and then notifies the subscriber.

use replica_count_core::change::Changed;

use super::mirror::Mirror;

/// Is notified of the changes of a store.
pub trait Subscriber {
    /// A setting has changed. Memory is up to date, but the caller has no answer yet. So the resulting work is not lost
    /// if nobody waits for the answer. All callers wait for this, so it must be quick.
    fn changed(&self, changed: &Changed);
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

    /// The current settings in memory.
    pub(super) fn mirror(&self) -> &Mirror {
        &self.mirror
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
