//! The records of all managed targets, behind a lock.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use replica_count_core::change::Changed;
use replica_count_core::conflict::ConflictState;
use replica_count_core::kind::Kind;
use replica_count_core::ordered_lookup::OrderedLookup;
use replica_count_core::record::Record;
use replica_count_core::replicas::Replicas;
use replica_count_core::target::Target;

use crate::clock;
use crate::store::Store;

/// The records of all managed targets since the process started.
#[derive(Debug, Default)]
pub struct Records(Mutex<BTreeMap<Target, Record>>);

impl Records {
    /// The record of one target.
    pub fn get(&self, target: &Target) -> Option<Record> {
        self.lock().get(target).cloned()
    }

    /// All records. Call no other method of `self` while this is held.
    pub fn view(&self) -> RecordsView<'_> {
        RecordsView(self.lock())
    }

    /// Adds the record of a setting that was stored when the process started.
    pub fn insert_stored(&self, target: Target, desired: Replicas) {
        self.lock().insert(target, Record::of_stored_setting(desired));
    }

    /// Forgets what happened: each target gets the record of a setting that was stored before.
    pub fn begin_anew(&self, store: &Store) {
        let now = clock::now().wall;
        let desired = |target: &Target| store.get(target).map(|setting| setting.count_at(now));
        // The settings are locked before the records.
        let targets: Vec<Target> = self.lock().keys().cloned().collect();
        for target in targets {
            let Some(desired) = desired(&target) else { continue };
            self.update(&target, |record| *record = Record::of_stored_setting(desired));
        }
    }

    /// Applies a change of a setting, so that exactly the managed targets have records.
    pub fn apply(&self, Changed { target, after, at, .. }: &Changed) {
        let Some(target) = target.known() else { return };
        match after {
            Some(after) => self.lock().entry(target.clone()).or_default().record_setting(after.count_at(*at)),
            None => drop(self.lock().remove(target)),
        }
    }

    /// Records that the watch of a kind works again: clears the failures caused by the outage, and returns the targets
    /// that had some.
    pub fn record_reconnect(&self, kind: Kind) -> Vec<Target> {
        let mut records = self.lock();
        let of_kind = records.iter_mut().filter(|(target, _)| target.kind() == kind);
        let recovered =
            of_kind.filter_map(|(target, record)| record.record_reconnect().then(|| target.clone()));
        recovered.collect()
    }

    /// Updates the record of a managed target. `None`: it is not managed.
    pub fn update<T>(&self, target: &Target, update: impl FnOnce(&mut Record) -> T) -> Option<T> {
        self.lock().get_mut(target).map(update)
    }

    /// Updates the record of a target. If it is no longer managed, updates an empty record, which is dropped. `update`
    /// receives whether the target is managed.
    pub fn update_or_default<T>(&self, target: &Target, update: impl FnOnce(&mut Record, bool) -> T) -> T {
        match self.lock().get_mut(target) {
            Some(record) => update(record, true),
            None => update(&mut Record::default(), false),
        }
    }

    /// How many managed targets others change.
    pub fn count_conflicts(&self) -> ConflictCounts {
        let mut counts = ConflictCounts::default();
        for record in self.lock().values() {
            match record.conflict_state() {
                ConflictState::None => {}
                ConflictState::Contested => counts.contested += 1,
                ConflictState::Autoscaled => counts.autoscaled += 1,
            }
            counts.steady += usize::from(record.conflict.is_steady());
        }
        counts
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<Target, Record>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Numbers of managed targets.
#[derive(Clone, Copy, Debug, Default)]
pub struct ConflictCounts {
    /// Those with an autoscaler.
    pub autoscaled: usize,
    /// Those that are contested and have no autoscaler.
    pub contested: usize,
    /// Those with a steady conflict, whatever else they are.
    pub steady: usize,
}

/// All records at one point in time.
pub struct RecordsView<'a>(MutexGuard<'a, BTreeMap<Target, Record>>);

impl RecordsView<'_> {
    /// Looks up the records of targets in ascending order.
    pub fn ordered_lookup<'a>(&'a self) -> impl FnMut(&Target) -> Option<&'a Record> {
        let mut records = OrderedLookup::new(&self.0);
        move |target| records.get(target)
    }
}

#[cfg(test)]
mod tests {
    use std::time::{Duration, Instant};

    use replica_count_core::conflict::{Basis, View};
    use replica_count_core::failures::Failure;

    use super::*;

    #[test]
    fn a_watch_that_works_again_clears_failures_of_its_kind_only() {
        let records = Records::default();
        let targets = Kind::ALL.map(|kind| Target::new(kind, "shop", "web").expect("valid"));
        for target in &targets {
            records.insert_stored(target.clone(), Replicas::new(3).expect("valid"));
            records.update(target, |record| {
                let view = View { uid: "u".into(), replicas: Replicas::new(5).expect("valid") };
                let (basis, failure) = (Basis::Count, Failure::Unreachable);
                record.record_failure(view, basis, failure, Duration::ZERO, Instant::now(), 1.0);
            });
        }
        let [deployment, stateful_set] = targets;
        assert_eq!(records.record_reconnect(Kind::StatefulSet), [stateful_set]);
        assert_eq!(records.record_reconnect(Kind::StatefulSet), []);
        assert_eq!(records.record_reconnect(Kind::Deployment), [deployment]);
    }
}
