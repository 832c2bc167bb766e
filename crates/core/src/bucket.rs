//! A token bucket: so many at once, and then one per period.

use std::time::{Duration, Instant};

/// How much is allowed.
#[derive(Clone, Copy, Debug)]
pub struct Rate {
    /// How many at once.
    pub burst: u32,
    /// After how long there may be one more.
    pub period: Duration,
}

/// A token bucket, which begins full.
#[derive(Clone, Copy, Debug)]
pub struct Bucket {
    rate: Rate,
    /// When it was, or will be, empty: each token moves it by a period.
    empty_at: Instant,
}

impl Bucket {
    /// A full bucket.
    pub fn new(rate: Rate, now: Instant) -> Self {
        let full = rate.period * rate.burst;
        Self { rate, empty_at: now.checked_sub(full).unwrap_or(now) }
    }

    /// When there is a token: now, or later.
    pub fn ready_at(&self, now: Instant) -> Instant {
        (self.filled(now) + self.rate.period).max(now)
    }

    /// Takes a token, if there is one.
    pub fn take(&mut self, now: Instant) -> bool {
        let taken = self.filled(now) + self.rate.period;
        let is_there = taken <= now;
        if is_there {
            self.empty_at = taken;
        }
        is_there
    }

    /// A full bucket does not become fuller.
    fn filled(&self, now: Instant) -> Instant {
        let full = now.checked_sub(self.rate.period * self.rate.burst).unwrap_or(now);
        self.empty_at.max(full)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_burst_and_then_one_per_period() {
        let second = Duration::from_secs(1);
        let now = Instant::now() + Duration::from_hours(1);
        let mut bucket = Bucket::new(Rate { burst: 3, period: second }, now);
        assert_eq!([0; 4].map(|_| bucket.take(now)), [true, true, true, false]);
        assert_eq!(bucket.ready_at(now), now + second);
        assert!(!bucket.take(now + second / 2) && bucket.take(now + second) && !bucket.take(now + second));
        let later = now + Duration::from_mins(1);
        assert_eq!([0; 4].map(|_| bucket.take(later)), [true, true, true, false]);
    }
}
