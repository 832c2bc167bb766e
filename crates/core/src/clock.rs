//! The clocks of a decision. The domain reads none: who calls it does, once for each step.

use std::time::Instant;

use jiff::Timestamp;

/// Both clocks, read at the same moment.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The wall clock, which people read and which may be set.
    pub wall: Timestamp,
    /// The monotonic clock, which never goes back. Delays use it.
    pub monotonic: Instant,
}
