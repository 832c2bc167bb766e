//! Compares parts of the domain with plain reference models, and tests all of it against an adversary.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod budget;
mod damping;
mod election;
mod failures;
mod index;
mod rhythm;
mod simulation;
mod world;

use std::time::Duration;

/// Shorthand for a duration in milliseconds.
fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
