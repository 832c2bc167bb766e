//! The steps, in the order in which they are shown. Each file is one step, and says what it shows.

mod certificates;
mod conflict;
mod connections;
mod drift;
mod eviction;
mod helm_test;
mod install;
mod kill;
mod listing;
mod notes;
mod pipeline;
mod readme;
mod replacement;
mod rights;
mod set;
mod third_party;
mod uninstall;
mod upgrade;

use anyhow::Result;
use futures_util::future::LocalBoxFuture;

use crate::stage::Stage;
use crate::table::Outcome;

/// Something that is shown.
#[derive(Clone, Copy)]
pub(crate) struct Step {
    pub(crate) name: &'static str,
    pub(crate) about: &'static str,
    /// Says in a line what was seen. An error is a step that failed.
    pub(crate) run: for<'a> fn(&'a Stage) -> LocalBoxFuture<'a, Result<Outcome>>,
}

/// The step that all others need.
pub(crate) const INSTALL: Step = install::STEP;

/// All of them. What looks back at the others comes before the end.
pub(crate) const ALL: &[Step] = &[
    INSTALL,
    listing::STEP,
    notes::STEP,
    readme::STEP,
    helm_test::STEP,
    set::STEP,
    drift::STEP,
    conflict::STEP,
    third_party::STEP,
    kill::STEP,
    eviction::STEP,
    replacement::STEP,
    certificates::STEP,
    pipeline::STEP,
    upgrade::STEP,
    connections::STEP,
    rights::STEP,
    uninstall::STEP,
];

/// How steps are called on the command line.
pub(crate) fn names() -> Vec<&'static str> {
    ALL.iter().map(|step| step.name).collect()
}

/// The usual end of a step.
fn passed(seen: impl Into<String>) -> Outcome {
    Outcome::Passed(seen.into())
}
