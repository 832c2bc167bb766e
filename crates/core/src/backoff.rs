//! How long to wait before a retry.

use std::time::Duration;

/// Bounded exponential back-off.
#[derive(Clone, Copy, Debug)]
pub struct Backoff {
    /// The delay after the first failure.
    pub base: Duration,
    /// The longest delay.
    pub cap: Duration,
}

impl Backoff {
    /// The delay after `failures` failures in a row (1 or more), with jitter.
    ///
    /// `jitter` is a random number in 0..1. The delay is between half of the full step and the full step, so that
    /// targets that failed together do not retry together.
    pub fn delay(self, failures: u32, jitter: f64) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let full = self.base.saturating_mul(1 << doublings).min(self.cap);
        full.mul_f64(0.5 + jitter.clamp(0.0, 1.0) / 2.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn doubles_up_to_the_cap() {
        let backoff = Backoff { base: Duration::from_millis(100), cap: Duration::from_secs(10) };
        let cases =
            [(1, 100), (2, 200), (3, 400), (7, 6_400), (8, 10_000), (1_000, 10_000), (u32::MAX, 10_000)];
        for (failures, full_ms) in cases {
            assert_eq!(backoff.delay(failures, 1.0), Duration::from_millis(full_ms), "{failures}");
            assert_eq!(backoff.delay(failures, 0.0), Duration::from_millis(full_ms) / 2, "{failures}");
        }
    }
}
