//! The records of all managed targets, behind a lock.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use replica_count_core::ascending::Ascending;
use replica_count_core::history::{History, Opposition};
use replica_count_core::replicas::Replicas;
use replica_count_core::target::Target;

/// What happened to each managed target since the process started.
#[derive(Debug, Default)]
pub struct Records(Mutex<BTreeMap<Target, History>>);

impl Records {
    /// What happened to one target.
    pub fn get(&self, target: &Target) -> Option<History> {
        self.lock().get(target).cloned()
    }

    /// Who else has a say in each count. No other method of this value must be called while it is held.
    pub fn oppositions(&self) -> Oppositions<'_> {
        Oppositions(self.lock())
    }

    /// Starts the history of a target that is managed from the start of the process.
    pub fn begin(&self, target: Target, desired: Replicas) {
        self.lock().insert(target, History::of_stored_setting(desired));
    }

    /// Keeps records for exactly what is managed: call it when a setting was stored, which desires this count, or
    /// forgotten. A new setting does not wait for the failures of the one before.
    pub fn follow(&self, target: &Target, desired: Option<Replicas>) {
        match desired {
            Some(desired) => self.lock().entry(target.clone()).or_default().forgive_for_new_setting(desired),
            None => drop(self.lock().remove(target)),
        }
    }

    /// The watch works again: forgets the failures that this cures, and returns the targets that had some.
    pub fn forgive_for_contact(&self) -> Vec<Target> {
        let mut records = self.lock();
        let cured = records
            .iter_mut()
            .filter_map(|(target, history)| history.forgive_for_contact().then(|| target.clone()));
        cured.collect()
    }

    /// Changes the history of a managed target.
    pub fn update<T>(&self, target: &Target, update: impl FnOnce(&mut History) -> T) -> Option<T> {
        self.lock().get_mut(target).map(update)
    }

    /// How many managed targets have an autoscaler, and how many of the others are contested.
    pub fn count(&self) -> (usize, usize) {
        let records = self.lock();
        let count = |wanted| records.values().filter(|history| history.opposition() == wanted).count();
        (count(Opposition::Autoscaler), count(Opposition::Contest))
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Target, History>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Who else has a say in each count, at one moment.
pub struct Oppositions<'a>(MutexGuard<'a, BTreeMap<Target, History>>);

impl Oppositions<'_> {
    /// Who else has a say in the counts of targets that come in their order.
    pub fn ascending(&self) -> impl FnMut(&Target) -> Opposition {
        let mut records = Ascending::new(&self.0);
        move |target| records.get(target).map_or(Opposition::None, History::opposition)
    }
}
