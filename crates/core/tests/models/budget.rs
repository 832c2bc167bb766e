//! A plain token bucket, as a model of what people may do without being damped.

use std::time::{Duration, Instant};

use replica_count_core::damping::REFILL;

/// What was used of a budget, as time until all of it is available again.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Budget {
    used: Duration,
    at: Instant,
}

impl Budget {
    pub(crate) fn new(now: Instant) -> Self {
        Self { used: Duration::ZERO, at: now }
    }

    pub(crate) fn take(&mut self, now: Instant) {
        self.used = self.used(now) + REFILL;
        self.at = now;
    }

    /// Whether at least `times` of `size` are left.
    pub(crate) fn has_left(&self, times: u32, size: u32, now: Instant) -> bool {
        self.used(now) + REFILL * times <= REFILL * size
    }

    fn used(&self, now: Instant) -> Duration {
        self.used.saturating_sub(now - self.at)
    }
}
