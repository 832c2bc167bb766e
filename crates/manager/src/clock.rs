//! Reads the clocks for decisions and answers.

use jiff::Timestamp;
use replica_count_core::clock::Now;
use tokio::time::Instant;

/// Both clocks, now. Tests that pause tokio's time pause the monotonic one with it.
pub(crate) fn now() -> Now {
    Now { wall: Timestamp::now(), monotonic: Instant::now().into_std() }
}
