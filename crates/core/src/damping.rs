//! Damping: repairs are delayed while somebody keeps changing a count.
//!
//! Occasional changes are repaired at once. Repeated changes are still repaired, at growing intervals, so that a fight
//! costs the API server next to nothing.
//!
//! A *conflict* is a drift that we repaired, or one on which a write of ours came too late. Each conflict uses up one of
//! [`BUDGET`] immediate repairs, and one is regained every [`REFILL`]. When none is left the target is *contested*: the
//! next repair waits, and each one after it waits twice as long, until no drift is seen for [`QUIET`].
//!
//! A write that came too late is sometimes repeated for the same drift, because the watch shows nothing newer. That says
//! nothing about an opponent, so it is no conflict. [`RETRIES`] of them are made at once, and one is regained every
//! [`REFILL`]. The same holds, in addition, for writes that tested the version and came too late for that, because
//! something else than the count may have changed.
//!
//! The cost of a fight in any minute: suppose the budget is used up after `s` seconds. Until then there were at most
//! 12 + s/20 conflicts. Jitter at most halves each delay, so the next ones come at the earliest 5, 15, 35 and 75 seconds
//! later. That makes at most 16 conflicts for any `s`: 12 + 1 + 3 for `s` from 20 to 25. With at most 2 + 2 repeated
//! writes, that is 20 writes. After that there is one every 2.5 to 5 minutes.

use std::time::{Duration, Instant};

use crate::backoff::Backoff;

/// Immediate repairs of one target: more than a person or a pipeline needs in a minute.
pub const BUDGET: u32 = 12;
/// Immediate repairs of an autoscaled target. An autoscaler does not stop by itself, so it is damped at once.
pub const BUDGET_OF_AUTOSCALED: u32 = 1;
/// The time after which one more immediate repair is available: three changes a minute are never damped.
pub const REFILL: Duration = Duration::from_secs(20);
/// Writes that may be repeated at once for the same drift.
pub const RETRIES: u32 = 2;
/// How long repairs of a contested target wait.
pub const DELAYS: Backoff = Backoff { base: Duration::from_secs(10), cap: Duration::from_mins(5) };
/// The time without drift after which a target is no longer contested. It is longer than the longest delay: otherwise
/// an opponent who waits for each repair would get a new budget each time.
pub const QUIET: Duration = Duration::from_mins(10);

/// How the repairs of one target are damped.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Damping {
    repairs: Allowance,
    retries: Allowance,
    /// Writes that came too late for the version that they tested.
    outdated: Allowance,
    contested: Option<Contested>,
}

/// Somebody keeps changing the count, so repairs are delayed.
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
    /// There is no conflict.
    None,
    /// The conflict ends at this time unless drift is seen before.
    EndsAt(Instant),
    /// The conflict has just ended.
    Ended,
}

impl Damping {
    /// The conflict, if the target is contested.
    pub fn contested(&self) -> Option<&Contested> {
        self.contested.as_ref()
    }

    /// Whether nothing is remembered.
    pub(crate) fn is_rested(&self, now: Instant) -> bool {
        self.contested.is_none()
            && self.repairs.is_full(now)
            && self.retries.is_full(now)
            && self.outdated.is_full(now)
    }

    /// Records a conflict at `now`. `budget` is the number of immediate repairs, `jitter` a random number in 0..1.
    pub fn record_conflict(&mut self, budget: u32, now: Instant, jitter: f64) {
        self.repairs.take(now);
        let delays = match &self.contested {
            None if self.repairs.has(1, budget, now) => return,
            None => 1,
            Some(contested) => contested.delays.saturating_add(1),
        };
        let next_repair = now + DELAYS.delay(delays, jitter);
        self.contested = Some(Contested { next_repair, delays, last_drift: now });
    }

    /// Records a write that was repeated for the same drift. One that nobody waited for, because it was made before the
    /// others were answered, makes nobody wait longer than [`REFILL`].
    pub fn record_retry(&mut self, now: Instant) {
        if self.retries.has(1, RETRIES, now) {
            self.retries.take(now);
        }
    }

    /// Records a write that came too late for the version that it tested.
    pub fn record_outdated(&mut self, now: Instant) {
        self.outdated.take(now);
    }

    /// Whether a write may test the version, although it may come too late for that.
    pub fn may_test_version(&self, now: Instant) -> bool {
        self.outdated.has(1, RETRIES, now)
    }

    /// When the next write may be repeated for the same drift. `None`: now.
    pub fn next_retry(&self) -> Option<Instant> {
        self.retries.next(1, RETRIES)
    }

    /// Skips the current delay, on request. The next delay is as long as if this one had not been skipped.
    pub fn skip_delay(&mut self) {
        if let Some(contested) = &mut self.contested {
            contested.next_repair = contested.last_drift;
        }
    }

    /// Records that no autoscaler targets the workload any more. A conflict ends if people would not have used up their
    /// budget. What is left of the budget stays, so an autoscaler that comes and goes does not renew it.
    pub fn end_autoscaling(&mut self, now: Instant) {
        if self.repairs.has(1, BUDGET, now) {
            self.contested = None;
        }
    }

    /// Records that there is drift.
    pub fn record_drift(&mut self, now: Instant) {
        if let Some(contested) = &mut self.contested {
            contested.last_drift = now;
        }
    }

    /// Records that there is no drift, which ends a conflict after [`QUIET`].
    pub fn record_quiet(&mut self, now: Instant) -> Quiet {
        match self.contested {
            None => Quiet::None,
            Some(Contested { last_drift, .. }) if last_drift + QUIET > now => {
                Quiet::EndsAt(last_drift + QUIET)
            }
            Some(_) => {
                *self = Self::default();
                Quiet::Ended
            }
        }
    }
}

/// A number of things that may be done at once, one of which is regained every [`REFILL`].
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Allowance {
    /// When all are available again. `None`: nothing was done.
    full_at: Option<Instant>,
}

impl Allowance {
    /// Does one of them, even if none is available.
    fn take(&mut self, now: Instant) {
        self.full_at = Some(self.full_at.map_or(now, |full_at| full_at.max(now)) + REFILL);
    }

    /// When as many of `size` are available. `None`: now.
    fn next(self, times: u32, size: u32) -> Option<Instant> {
        self.full_at?.checked_sub(REFILL * size.saturating_sub(times))
    }

    fn has(self, times: u32, size: u32, now: Instant) -> bool {
        self.next(times, size).is_none_or(|next| next <= now)
    }

    fn is_full(self, now: Instant) -> bool {
        self.full_at.is_none_or(|full_at| full_at <= now)
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
        assert_eq!(damping.record_quiet(start), Quiet::None);
        damping.record_conflict(1, start, 0.0);
        assert_eq!(damping.record_quiet(start + SECOND), Quiet::EndsAt(start + QUIET));
        damping.record_drift(start + 60 * SECOND);
        assert_eq!(damping.record_quiet(start + QUIET), Quiet::EndsAt(start + QUIET + 60 * SECOND));
        assert_eq!(damping.record_quiet(start + QUIET + 60 * SECOND), Quiet::Ended);
        assert_eq!(damping, Damping::default(), "with a full budget");
    }

    #[test]
    fn an_autoscaler_that_goes_takes_its_conflict_along_and_leaves_what_was_used() {
        for conflicts in 1..=2 * BUDGET {
            let (mut damping, now) = (Damping::default(), Instant::now());
            for _ in 0..conflicts {
                damping.record_conflict(BUDGET_OF_AUTOSCALED, now, 0.0);
                assert!(damping.contested().is_some());
            }
            damping.end_autoscaling(now);
            assert_eq!(damping.contested().is_some(), conflicts >= BUDGET, "{conflicts}");
            damping.record_conflict(BUDGET, now, 0.0);
            assert_eq!(damping.contested().is_some(), conflicts + 1 >= BUDGET, "{conflicts}");
        }
    }

    #[test]
    fn two_writes_are_repeated_at_once_and_then_three_a_minute() {
        let (mut damping, start) = (Damping::default(), Instant::now());
        let (mut now, mut retries) = (start, Vec::new());
        while now < start + 60 * SECOND {
            retries.push(now.duration_since(start).as_secs());
            damping.record_retry(now);
            now = damping.next_retry().map_or(now, |next| next.max(now));
        }
        assert_eq!(retries, [0, 0, 20, 40]);
        assert_eq!(damping.contested(), None);
        assert!(damping.is_rested(now + 20 * SECOND) && !damping.is_rested(now + 19 * SECOND));
    }
}
