//! How a fight over a count is damped.
//!
//! Whoever changes a count now and then is answered at once. Whoever changes it again and again is never given up on
//! either, but answered ever more slowly, so that a fight costs the API server next to nothing.
//!
//! A *bout* is a drift that we put back, or a write of ours that somebody else's change made stale. Each takes one of
//! [`BUDGET`] immediate repairs, and one comes back every [`REFILL`]. When none is left the target is *contested*: the
//! next repair waits, and the one after it twice as long, until no drift was seen for [`QUIET`].
//!
//! What a fight can cost in its first minute: let the budget be used up after `s` seconds. Until then there were at most
//! 12 + s/20 bouts. After that the next ones come at the earliest 5, 15, 35 and 75 seconds later, as jitter takes off at
//! most a half of each delay. That is at most 16 bouts, whatever `s` is: 12 + 1 + 3 for `s` from 20 to 25. Later on it
//! is one every 2.5 to 5 minutes.

use std::time::{Duration, Instant};

use crate::backoff::{Backoff, Moment};

/// Immediate repairs: more than a person or a pipeline needs in a minute.
pub const BUDGET: u32 = 12;
/// The same for a target of an autoscaler, which will not stop by itself: damped from the first bout on.
pub const BUDGET_OF_AUTOSCALED: u32 = 1;
/// How long it takes until one of them comes back. Who drifts a target three times a minute may do so for ever.
pub const REFILL: Duration = Duration::from_secs(20);
/// How long the next repair waits when the budget is used up.
pub const DELAYS: Backoff = Backoff { base: Duration::from_secs(10), cap: Duration::from_mins(5) };
/// How long no drift must be seen for all to be forgotten: longer than the longest delay, or an opponent who waits for
/// the repair would have a new budget each time.
pub const QUIET: Duration = Duration::from_mins(10);

/// How the repairs of one target are damped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Damping {
    /// They are immediate.
    Calm {
        /// When the budget is whole again. `None`: it is.
        whole_at: Option<Instant>,
    },
    /// Somebody keeps drifting it: they are delayed.
    Contested(Contest),
}

/// A fight over a count.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Contest {
    /// No repair before this time.
    pub next_repair: Instant,
    /// The delays so far, each longer than the one before.
    delays: u32,
    /// When drift was seen last.
    last_drift: Instant,
}

/// Whether a contest goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Truce {
    /// There is no contest.
    Calm,
    /// It ends at this time, unless drift is seen before.
    Until(Instant),
    /// It has ended just now.
    Peace,
}

impl Default for Damping {
    fn default() -> Self {
        Self::Calm { whole_at: None }
    }
}

impl Damping {
    /// The contest, if there is one.
    pub fn contest(&self) -> Option<&Contest> {
        match self {
            Self::Calm { .. } => None,
            Self::Contested(contest) => Some(contest),
        }
    }

    /// Takes note of a bout, where `budget` of them in a row are answered at once.
    pub fn record_bout(&mut self, budget: u32, Moment { at, jitter }: Moment) {
        let delays = match self {
            Self::Calm { whole_at } => {
                let whole = whole_at.map_or(at, |before| before.max(at)) + REFILL;
                let is_one_left = whole + REFILL <= at + REFILL * budget;
                if is_one_left {
                    *whole_at = Some(whole);
                    return;
                }
                1
            }
            Self::Contested(contest) => contest.delays.saturating_add(1),
        };
        let next_repair = at + DELAYS.delay(delays, jitter);
        *self = Self::Contested(Contest { next_repair, delays, last_drift: at });
    }

    /// Lets the next repair not wait, as somebody asks for it. The one after it waits as if it had.
    pub fn hasten(&mut self) {
        if let Self::Contested(contest) = self {
            contest.next_repair = contest.last_drift;
        }
    }

    /// Takes note that there is drift.
    pub fn record_drift(&mut self, now: Instant) {
        match self {
            Self::Calm { .. } => {}
            Self::Contested(contest) => contest.last_drift = now,
        }
    }

    /// Takes note that there is none; ends a contest if there has been none for long enough.
    pub fn record_quiet(&mut self, now: Instant) -> Truce {
        match self {
            Self::Calm { .. } => Truce::Calm,
            Self::Contested(Contest { last_drift, .. }) if *last_drift + QUIET > now => {
                Truce::Until(*last_drift + QUIET)
            }
            Self::Contested(_) => {
                *self = Self::default();
                Truce::Peace
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SECOND: Duration = Duration::from_secs(1);

    /// The bouts, in seconds, of a fight in which the opponent strikes back after `pause`.
    fn fight(budget: u32, pause: Duration, jitter: f64, lasting: Duration) -> Vec<f64> {
        let start = Instant::now();
        let (mut damping, mut now, mut bouts) = (Damping::default(), start, Vec::new());
        while now <= start + lasting {
            damping.record_bout(budget, Moment { at: now, jitter });
            bouts.push(now.duration_since(start).as_secs_f64());
            now += pause;
            now = damping.contest().map_or(now, |contest| now.max(contest.next_repair));
        }
        bouts
    }

    #[test]
    fn who_drifts_it_now_and_then_is_answered_at_once() {
        for (times, pause) in [(11, Duration::ZERO), (17, 8 * SECOND), (1000, REFILL)] {
            let (mut damping, mut now) = (Damping::default(), Instant::now());
            for n in 0..times {
                damping.record_bout(BUDGET, Moment { at: now, jitter: 1.0 });
                assert_eq!(damping.contest(), None, "bout {n} every {pause:?}");
                now += pause;
            }
        }
    }

    #[test]
    fn a_fight_costs_sixteen_writes_in_its_first_minute_and_then_one_in_minutes() {
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
    fn delays_grow_from_the_last_immediate_repair_on() {
        for (budget, immediate) in [(BUDGET, 12), (BUDGET_OF_AUTOSCALED, 1)] {
            let bouts = fight(budget, Duration::ZERO, 1.0, 400 * SECOND);
            let expected: Vec<f64> =
                std::iter::repeat_n(0.0, immediate).chain([10.0, 30.0, 70.0, 150.0, 310.0]).collect();
            assert_eq!(bouts, expected, "{budget}");
        }
    }

    #[test]
    fn quiet_ends_a_contest_and_drift_ends_the_quiet() {
        let start = Instant::now();
        let mut damping = Damping::default();
        assert_eq!(damping.record_quiet(start), Truce::Calm);
        damping.record_bout(1, Moment { at: start, jitter: 0.0 });
        assert_eq!(damping.record_quiet(start + SECOND), Truce::Until(start + QUIET));
        damping.record_drift(start + 60 * SECOND);
        assert_eq!(damping.record_quiet(start + QUIET), Truce::Until(start + QUIET + 60 * SECOND));
        assert_eq!(damping.record_quiet(start + QUIET + 60 * SECOND), Truce::Peace);
        assert_eq!(damping, Damping::default(), "with a whole budget");
    }
}
