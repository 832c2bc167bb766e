//! The only place where the server reads its clocks for a decision.

use jiff::Timestamp;
use replica_count_core::clock::Now;
use tokio::time::Instant;

/// Reads both clocks. Tests that pause tokio's time also pause the monotonic clock.
pub fn now() -> Now {
    Now { wall: Timestamp::now(), monotonic: Instant::now().into_std() }
}
