//! Figures of all guards, for metrics and readiness.

use std::time::Duration;

use replica_count_core::guard::Mode;

use super::namespace::{Held, Proven};
use super::{Guards, Reading};

/// Figures for metrics and readiness.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Summary {
    /// What policies are to do. `None`: off, or not known yet.
    pub mode: Option<Mode>,
    /// What is missing for the guard to do what it should.
    pub lack: Option<String>,
    /// Whether the API server refuses to show guards.
    pub is_refused: bool,
    /// Targets whose count the API server keeps.
    pub guarded: usize,
    /// Namespaces whose guard is known to be in force.
    pub active: usize,
    /// Namespaces whose guard is not in force.
    pub inactive: usize,
    /// Namespaces whose guard somebody has suspended.
    pub suspended: usize,
    /// Namespaces whose guard somebody keeps changing.
    pub contested: usize,
    /// The age of the oldest change that a guard does not have yet.
    pub oldest_change: Duration,
}

impl Summary {
    /// The figures of these guards now.
    pub fn of(guards: &Guards) -> Self {
        let inner = guards.lock();
        let is_refused = inner.reading == Reading::Refused;
        let lack = inner.lack.clone();
        let mut summary = Self { mode: inner.mode, lack, is_refused, ..Self::default() };
        for known in inner.namespaces.values() {
            let age = known.changed_at.map(|at| at.elapsed()).unwrap_or_default();
            summary.oldest_change = summary.oldest_change.max(age);
            summary.contested += usize::from(known.damping.contested().is_some());
            let Some(Held { guard, .. }) = &known.held else { continue };
            match known.proof {
                _ if guard.is_suspended => summary.suspended += 1,
                Proven::Active(_) => {
                    summary.active += 1;
                    summary.guarded += guard.counts.len();
                }
                Proven::Inactive => summary.inactive += 1,
                Proven::NotYet | Proven::Doubted => {}
            }
        }
        summary
    }

    /// What is wrong with the guard, for people. `None`: nothing, or it is off.
    pub fn problem(&self) -> Option<String> {
        let Self { is_refused, active, inactive, suspended, contested, .. } = *self;
        let lack = self.lack.as_deref();
        if is_refused {
            return Some("the guard is not installed: counts are watched and repaired".to_owned());
        }
        let counted = |count: usize, what: &str| (count > 0).then(|| format!("{what} in {count} namespaces"));
        let parts = [
            counted(inactive, "not in force"),
            counted(suspended, "suspended"),
            counted(contested, "contested"),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        if parts.is_empty() {
            return lack.map(|lack| format!("the guard only warns: {lack}"));
        }
        let why = lack.map(|lack| format!(": {lack}")).unwrap_or_default();
        Some(format!("the guard is {}, and in force in {active}{why}", parts.join(", ")))
    }
}
