//! The records of all managed targets, behind a lock.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use replica_count_core::change::Changed;
use replica_count_core::conflict::ConflictState;
use replica_count_core::ordered_lookup::OrderedLookup;
use replica_count_core::record::Record;
use replica_count_core::replicas::Replicas;
use replica_count_core::target::Target;

/// What happened to each managed target since the process started.
#[derive(Debug, Default)]
pub struct Records(Mutex<BTreeMap<Target, Record>>);

impl Records {
    /// The record of one target.
    pub fn get(&self, target: &Target) -> Option<Record> {
        self.lock().get(target).cloned()
    }

    /// Who else changes each count. No other method of this value must be called while it is held.
    pub fn conflict_states(&self) -> ConflictStates<'_> {
        ConflictStates(self.lock())
    }

    /// Starts the record of a target that is managed from the start of the process.
    pub fn begin(&self, target: Target, desired: Replicas) {
        self.lock().insert(target, Record::of_stored_setting(desired));
    }

    /// Follows a change of a setting, so that there are records of exactly what is managed.
    pub fn follow(&self, Changed { target, after, .. }: &Changed) {
        match after {
            Some(after) => self.lock().entry(target.clone()).or_default().record_setting(after.replicas),
            None => drop(self.lock().remove(target)),
        }
    }

    /// The watch works again: forgets the failures that this cures, and returns the targets that had some.
    pub fn record_reconnect(&self) -> Vec<Target> {
        let mut records = self.lock();
        let cured = records
            .iter_mut()
            .filter_map(|(target, record)| record.record_reconnect().then(|| target.clone()));
        cured.collect()
    }

    /// Changes the record of a managed target. `None`: it is not managed.
    pub fn update<T>(&self, target: &Target, update: impl FnOnce(&mut Record) -> T) -> Option<T> {
        self.lock().get_mut(target).map(update)
    }

    /// Changes the record of a target that may not be managed any more. Then nothing is kept of the change.
    pub fn update_or_default<T>(&self, target: &Target, update: impl FnOnce(&mut Record) -> T) -> T {
        update(self.lock().get_mut(target).unwrap_or(&mut Record::default()))
    }

    /// How many managed targets have an autoscaler, and how many of the others are contested.
    pub fn count(&self) -> (usize, usize) {
        let records = self.lock();
        let count = |wanted| records.values().filter(|record| record.conflict_state() == wanted).count();
        (count(ConflictState::Autoscaled), count(ConflictState::Contested))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Target, Record>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who else changes each count, at one moment.
pub struct ConflictStates<'a>(MutexGuard<'a, BTreeMap<Target, Record>>);

impl ConflictStates<'_> {
    /// Who else changes the counts of targets that come in their order.
    pub fn ordered_lookup(&self) -> impl FnMut(&Target) -> ConflictState {
        let mut records = OrderedLookup::new(&self.0);
        move |target| records.get(target).map_or(ConflictState::None, Record::conflict_state)
    }
}
