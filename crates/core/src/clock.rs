//! The clocks of a decision. The domain reads no clock: its caller does, once for each step.

use std::time::Instant;

use jiff::Timestamp;

/// Both clocks, read at the same moment.
#[derive(Clone, Copy, Debug)]
pub struct Now {
    /// The wall clock, which is for people and may be set.
    pub wall: Timestamp,
    /// The monotonic clock, which never goes back. Delays use it.
    pub monotonic: Instant,
}
