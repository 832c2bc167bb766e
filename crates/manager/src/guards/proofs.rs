//! Whether the guard of each namespace is known to be in force.

use std::sync::Arc;
use std::time::Duration;

use tokio::time::Instant;

use super::namespace::{Held, Namespace, Proven, Writing};
use super::{Guards, Inner, Subject};

impl Guards {
    /// What to prove of the guard of a namespace. `None`: there is nothing to prove, or it is about to change.
    pub fn subject(&self, namespace: &str, proof_every: Duration) -> Option<Subject> {
        let inner = self.lock();
        let known = inner.namespaces.get(namespace)?;
        let held = known.held.as_ref().filter(|held| {
            held.guard.mode == inner.mode && !held.guard.is_suspended && !held.guard.counts.is_empty()
        })?;
        let is_steady = matches!(known.writing, Writing::Nothing) && known.drift.is_none();
        let due = match known.proof {
            Proven::NotYet | Proven::Doubted | Proven::Inactive => None,
            Proven::Active(at) => Some(at + proof_every).filter(|due| *due > Instant::now()),
        };
        let is_inactive = matches!(known.proof, Proven::Inactive);
        let (counts, version) = (held.guard.counts.clone(), held.version);
        Some(Subject { counts, mode: inner.mode?, version, is_inactive, due }).filter(|_| is_steady)
    }

    /// Marks all namespaces for a proof, which is made where it is due.
    pub fn mark_proofs(&self) {
        let namespaces: Vec<_> = self.lock().namespaces.keys().cloned().collect();
        for namespace in namespaces {
            self.proofs.mark(namespace);
        }
    }

    /// Takes no guard for being in force until that is proven again: the API server may have been restarted, and evaluates
    /// no policies with parameters for up to half a minute.
    pub fn doubt_all(&self) {
        let mut doubted = Vec::new();
        for (namespace, known) in &mut self.lock().namespaces {
            if matches!(known.proof, Proven::Active(_)) {
                known.proof = Proven::Doubted;
                doubted.push(Arc::clone(namespace));
            }
        }
        for namespace in doubted {
            self.proofs.mark(namespace);
        }
    }

    /// Records that the guard of a namespace is in force; returns whether that is new.
    pub fn record_active(&self, namespace: &str, version: Option<u64>) -> bool {
        let mut inner = self.lock();
        let Some(known) = proven(&mut inner, namespace, version) else { return false };
        known.trials = 0;
        let before = std::mem::replace(&mut known.proof, Proven::Active(Instant::now()));
        !matches!(before, Proven::Active(_) | Proven::Doubted)
    }

    /// Records that the guard of a namespace is not in force; returns how often that was seen in a row. 0: another version
    /// of it is in the API server by now.
    pub fn record_inactive(&self, namespace: &str, version: Option<u64>) -> u32 {
        let mut inner = self.lock();
        let Some(known) = proven(&mut inner, namespace, version) else { return 0 };
        known.proof = Proven::Inactive;
        known.trials = known.trials.saturating_add(1);
        known.trials
    }

    /// Records that the guard of a namespace did not do a write, and lets that be tried again.
    pub fn disprove(&self, namespace: &str) {
        if let Some(known) = self.lock().namespaces.get_mut(namespace) {
            known.proof = Proven::Inactive;
        }
        self.proofs.mark(Arc::from(namespace));
    }
}

/// The namespace, if its guard still has the version that a proof was about, and the mode that is wanted now.
fn proven<'a>(inner: &'a mut Inner, namespace: &str, version: Option<u64>) -> Option<&'a mut Namespace> {
    let mode = inner.mode;
    let is_same = |held: &Held| held.version == version && held.guard.mode == mode;
    inner.namespaces.get_mut(namespace).filter(|known| known.held.as_ref().is_some_and(is_same))
}
