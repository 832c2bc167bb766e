//! The steps, in order. Each file is one step and describes what it verifies.

mod certificates;
mod conflict;
mod connections;
mod drift;
mod eviction;
mod guard;
mod helm_test;
mod install;
mod kill;
mod kubectl;
mod listing;
mod notes;
mod pipeline;
mod readme;
mod replacement;
mod replicas;
mod rights;
mod set;
mod stateful_set;
mod third_party;
mod uninstall;
mod upgrade;

use anyhow::Result;
use futures_util::future::LocalBoxFuture;

use crate::fixture::Fixture;
use crate::table::Outcome;

/// A step.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Returns a one-line result. An error means that the step failed.
    pub(crate) run: for<'a> fn(&'a Fixture) -> LocalBoxFuture<'a, Result<Outcome>>,
}

/// The step that all others depend on.
pub(crate) const INSTALL: Step = install::STEP;

/// All steps. Those that evaluate the others come near the end.
pub(crate) const ALL: &[Step] = &[
    INSTALL,
    listing::STEP,
    notes::STEP,
    readme::STEP,
    helm_test::STEP,
    set::STEP,
    drift::STEP,
    stateful_set::STEP,
    conflict::STEP,
    third_party::STEP,
    kubectl::STEP,
    kill::STEP,
    eviction::STEP,
    replacement::STEP,
    certificates::STEP,
    pipeline::STEP,
    upgrade::STEP,
    guard::STEP,
    connections::STEP,
    rights::STEP,
    uninstall::STEP,
    replicas::STEP,
];

/// The names of the steps on the command line.
pub(crate) fn names() -> Vec<&'static str> {
    ALL.iter().map(|step| step.name).collect()
}

/// The usual result of a step.
fn passed(seen: impl Into<String>) -> Outcome {
    Outcome::Passed(seen.into())
}
