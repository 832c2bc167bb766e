//! What the watch shows of guards, and how that differs from what this server wrote.

use std::sync::Arc;

use super::namespace::{Drift, Held, Namespace, Writing};
use super::{Change, Guards, Reading};
use crate::kubernetes::guard::{Guard, ReplicaGuard};

impl Guards {
    /// A full listing of the guards begins.
    pub fn begin_listing(&self) {
        self.lock().listing += 1;
    }

    /// The listing is complete: guards that it did not contain do not exist. Returns how many there are.
    pub fn end_listing(&self) -> usize {
        let mut inner = self.lock();
        let listing = inner.listing;
        inner.reading = Reading::Done;
        inner.namespaces.values_mut().filter(|known| known.listing != listing).for_each(Namespace::lose);
        inner.namespaces.values().filter(|known| known.held.is_some()).count()
    }

    /// The API server refuses to show guards.
    pub fn set_refused(&self) {
        let mut inner = self.lock();
        inner.reading = Reading::Refused;
        inner.namespaces.values_mut().for_each(Namespace::lose);
    }

    /// Records a guard that was listed, added or changed.
    pub fn observe(&self, object: &ReplicaGuard) -> Change {
        let mut inner = self.lock();
        let (listing, is_read) = (inner.listing, inner.reading == Reading::Done);
        let known = inner.namespaces.entry(Arc::from(object.key().0)).or_default();
        known.listing = listing;
        if known.held.as_ref().is_some_and(|held| held.version > object.version()) {
            return Change::None;
        }
        known.seen = known.seen.max(object.version());
        let guard = object.guard();
        let was_suspended = known.held.as_ref().is_some_and(|held| held.guard.is_suspended);
        let is_suspended = guard.is_suspended;
        let is_drift = known.is_drift(&guard, is_read);
        known.held = Some(Held::of(object));
        match (was_suspended, is_suspended) {
            (false, true) => Change::Suspended,
            (true, false) => Change::Resumed,
            _ if is_drift => {
                let by = object.last_writer().map(str::to_owned);
                known.drift = Some(Drift::Content { by: by.clone() });
                Change::Drift { by, is_contested: known.damping.contested().is_some() }
            }
            _ => Change::None,
        }
    }

    /// Records that a guard was deleted.
    pub fn remove(&self, object: &ReplicaGuard) -> Change {
        let mut inner = self.lock();
        let Some(known) = inner.namespaces.get_mut(object.key().0) else { return Change::None };
        known.seen = known.seen.max(object.version());
        let is_newer = known.held.as_ref().is_some_and(|held| held.version > object.version());
        if is_newer || known.held.take().is_none() {
            if matches!(known.writing, Writing::Deletion) {
                known.writing = Writing::Nothing;
            }
            return Change::None;
        }
        known.lose();
        match std::mem::take(&mut known.writing) {
            Writing::Deletion => Change::None,
            Writing::Nothing | Writing::Guard(_) => {
                known.drift = Some(Drift::Deletion);
                Change::Deleted
            }
        }
    }
}

impl Namespace {
    /// Whether somebody else has made the guard hold this. `is_read`: all guards have been read before.
    fn is_drift(&self, guard: &Guard, is_read: bool) -> bool {
        let is_being_written = match &self.writing {
            Writing::Guard(ours) => ours.is_same_as(guard),
            // The watch may show older versions.
            Writing::Deletion => true,
            Writing::Nothing => false,
        };
        // Before the first write of this process, it is what an earlier one left.
        let ours = self.written.as_ref().or_else(|| self.held.as_ref().map(|held| &held.guard));
        !is_being_written && ours.map_or(is_read, |ours| !ours.is_same_as(guard))
    }
}
