//! Parts of the domain against plain reference models, and all of it together against an adversary.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

mod conflict;
mod failures;
mod fight;
mod index;
mod world;

use std::time::Duration;

/// A short way to write lengths of time.
fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}
