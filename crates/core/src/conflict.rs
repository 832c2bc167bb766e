//! Conflicts: somebody keeps changing a count, and repairs are damped.
//!
//! Occasional changes are repaired at once. Repeated changes are still repaired, at growing intervals, so that a fight
//! costs the API server next to nothing.
//!
//! A *conflict* is a drift that we repaired, or a write of ours that somebody else's change made stale. Each conflict
//! uses up one of [`BUDGET`] immediate repairs, and one is regained every [`REFILL`]. When none is left the target is
//! *contested*: the next repair waits, and each one after it waits twice as long, until no drift is seen for [`QUIET`].
//!
//! The cost of a fight in its first minute: suppose the budget is used up after `s` seconds. Until then there were at
//! most 12 + s/20 conflicts. Jitter at most halves each delay, so the next ones come at the earliest 5, 15, 35 and 75
//! seconds later. That makes at most 16 conflicts for any `s`: 12 + 1 + 3 for `s` from 20 to 25. After that there is
//! one every 2.5 to 5 minutes.

use std::time::{Duration, Instant};

use crate::backoff::Backoff;

/// Immediate repairs of one target: more than a person or a pipeline needs in a minute.
pub const BUDGET: u32 = 12;
/// Immediate repairs of an autoscaled target. An autoscaler does not stop by itself, so it is damped at once.
pub const BUDGET_OF_AUTOSCALED: u32 = 1;
/// The time after which one more immediate repair is available: three changes a minute are never damped.
pub const REFILL: Duration = Duration::from_secs(20);
/// How long repairs of a contested target wait.
pub const DELAYS: Backoff = Backoff { base: Duration::from_secs(10), cap: Duration::from_mins(5) };
/// The time without drift after which a target is no longer contested. It is longer than the longest delay: otherwise
/// an opponent who waits for each repair would get a new budget each time.
pub const QUIET: Duration = Duration::from_mins(10);

/// Who else changes the count of a target.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ConflictState {
    /// Nobody.
    None,
    /// Somebody keeps changing it.
    Contested,
    /// An autoscaler targets it.
    Autoscaled,
}

/// How the repairs of one target are damped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damping {
    /// Repairs are immediate.
    Calm {
        /// When the budget is full again. `None`: it is full.
        full_at: Option<Instant>,
    },
    /// Somebody keeps changing the count, so repairs are delayed.
    Contested(Contested),
}

/// An ongoing conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contested {
    /// No repair before this time.
    pub next_repair: Instant,
    /// How many repairs were delayed; each delay is longer than the one before.
    delays: u32,
    /// When drift was last seen.
    last_drift: Instant,
}

/// What a period without drift does to a conflict.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Quiet {
    /// The target is not contested.
    NotContested,
    /// The conflict ends at this time unless drift is seen before.
    EndsAt(Instant),
    /// The conflict has just ended.
    Ended,
}

impl Default for Damping {
    fn default() -> Self {
        Self::Calm { full_at: None }
    }
}

impl Damping {
    /// The conflict, if the target is contested.
    pub fn contested(&self) -> Option<&Contested> {
        match self {
            Self::Calm { .. } => None,
            Self::Contested(contested) => Some(contested),
        }
    }

    /// Records a conflict at `now`. `budget` is the number of immediate repairs, `jitter` a random number in 0..1.
    pub fn record_conflict(&mut self, budget: u32, now: Instant, jitter: f64) {
        let delays = match self {
            Self::Calm { full_at } => {
                let full = full_at.map_or(now, |before| before.max(now)) + REFILL;
                let is_one_left = full + REFILL <= now + REFILL * budget;
                if is_one_left {
                    *full_at = Some(full);
                    return;
                }
                1
            }
            Self::Contested(contested) => contested.delays.saturating_add(1),
        };
        let next_repair = now + DELAYS.delay(delays, jitter);
        *self = Self::Contested(Contested { next_repair, delays, last_drift: now });
    }

    /// Skips the current delay, on request. The next delay is as long as if this one had not been skipped.
    pub fn skip_delay(&mut self) {
        if let Self::Contested(contested) = self {
            contested.next_repair = contested.last_drift;
        }
    }

    /// Records that there is drift.
    pub fn record_drift(&mut self, now: Instant) {
        match self {
            Self::Calm { .. } => {}
            Self::Contested(contested) => contested.last_drift = now,
        }
    }

    /// Records that there is no drift, which ends a conflict after [`QUIET`].
    pub fn record_quiet(&mut self, now: Instant) -> Quiet {
        match self {
            Self::Calm { .. } => Quiet::NotContested,
            Self::Contested(Contested { last_drift, .. }) if *last_drift + QUIET > now => {
                Quiet::EndsAt(*last_drift + QUIET)
            }
            Self::Contested(_) => {
                *self = Self::default();
                Quiet::Ended
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The conflicts, in seconds, of a fight in which the opponent changes the count again after `pause`.
    fn fight(budget: u32, pause: Duration, jitter: f64, duration: Duration) -> Vec<f64> {
        let start = Instant::now();
        let (mut damping, mut now, mut conflicts) = (Damping::default(), start, Vec::new());
        while now <= start + duration {
            damping.record_conflict(budget, now, jitter);
            conflicts.push(now.duration_since(start).as_secs_f64());
            now += pause;
            now = damping.contested().map_or(now, |contested| now.max(contested.next_repair));
        }
        conflicts
    }

    #[test]
    fn occasional_changes_are_repaired_at_once() {
        for (times, pause) in [(11, Duration::ZERO), (17, 8 * SECOND), (1000, REFILL)] {
            let (mut damping, mut now) = (Damping::default(), Instant::now());
            for n in 0..times {
                damping.record_conflict(BUDGET, now, 1.0);
                assert_eq!(damping.contested(), None, "conflict {n} every {pause:?}");
                now += pause;
            }
        }
    }

    #[test]
    fn a_fight_costs_sixteen_writes_in_its_first_minute_and_then_one_every_few_minutes() {
        for pause_ms in [0, 20, 500, 1_000, 1_700, 2_000, 2_300, 3_000, 4_000, 5_000, 10_000, 15_000] {
            for jitter in [0.0, 0.5, 1.0] {
                let pause = Duration::from_millis(pause_ms);
                let minute = fight(BUDGET, pause, jitter, 60 * SECOND);
                assert!(minute.len() <= 16, "{pause:?}, {jitter}: {minute:?}");
                let day = fight(BUDGET, pause, jitter, 24 * 3600 * SECOND);
                let gaps: Vec<f64> = day.windows(2).map(|pair| pair[1] - pair[0]).collect();
                let last = gaps.last().copied().unwrap_or_default();
                assert!((150.0..=300.0).contains(&last), "{pause:?}, {jitter}: {last}");
            }
        }
    }

    #[test]
    fn delays_grow_after_the_last_immediate_repair() {
        for (budget, immediate) in [(BUDGET, 12), (BUDGET_OF_AUTOSCALED, 1)] {
            let conflicts = fight(budget, Duration::ZERO, 1.0, 400 * SECOND);
            let expected: Vec<f64> =
                std::iter::repeat_n(0.0, immediate).chain([10.0, 30.0, 70.0, 150.0, 310.0]).collect();
            assert_eq!(conflicts, expected, "{budget}");
        }
    }

    #[test]
    fn quiet_ends_a_conflict_and_drift_restarts_the_quiet_period() {
        let start = Instant::now();
        let mut damping = Damping::default();
        assert_eq!(damping.record_quiet(start), Quiet::NotContested);
        damping.record_conflict(1, start, 0.0);
        assert_eq!(damping.record_quiet(start + SECOND), Quiet::EndsAt(start + QUIET));
        damping.record_drift(start + 60 * SECOND);
        assert_eq!(damping.record_quiet(start + QUIET), Quiet::EndsAt(start + QUIET + 60 * SECOND));
        assert_eq!(damping.record_quiet(start + QUIET + 60 * SECOND), Quiet::Ended);
        assert_eq!(damping, Damping::default(), "with a full budget");
    }
}
