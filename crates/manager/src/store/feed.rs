//! The feed of changes: what a backend made durable, memory follows, and then whoever follows the store.

use replica_count_core::change::Changed;

use super::mirror::Mirror;

/// Follows the changes of a store.
pub trait Follower {
    /// A setting has changed: memory has it, and whoever asked for it has no answer yet. So the work that it brings is
    /// not lost when nobody waits for the answer.
    fn changed(&self, changed: &Changed);

    /// The same after the answer was sent, for what must not delay it.
    fn answered(&self, changed: &Changed);
}

/// A closure follows changes before they are answered.
impl<F: Fn(&Changed)> Follower for F {
    fn changed(&self, changed: &Changed) {
        self(changed);
    }

    fn answered(&self, _: &Changed) {}
}

/// Where a backend puts the changes that are durable.
pub(super) struct Feed<F> {
    mirror: Mirror,
    follower: F,
}

impl<F: Follower> Feed<F> {
    pub(super) fn new(mirror: Mirror, follower: F) -> Self {
        Self { mirror, follower }
    }

    /// The settings before the next change.
    pub(super) fn mirror(&self) -> &Mirror {
        &self.mirror
    }

    /// Lets memory and the follower follow changes, which come in the order in which they were made; `answer` sends the
    /// answers to those who asked for them.
    pub(super) fn publish(&self, changes: &[Changed], answer: impl FnOnce()) {
        if !changes.is_empty() {
            self.mirror.follow(changes);
        }
        for changed in changes {
            self.follower.changed(changed);
        }
        answer();
        for changed in changes {
            self.follower.answered(changed);
        }
    }
}
