//! Steady conflicts: somebody changes a count again and again, too slowly to be damped.
//!
//! A *round* is a drift that a write of ours ended. A *series* is made of rounds none of which came more than
//! [`MEMORY`] after the one before. A conflict is *steady* from the [`ROUNDS_TO_NOTICE`]th round of a series on. How
//! regular the rounds are does not matter: real opponents miss rounds, wait longer each time, or are two. So a rhythm of
//! any length up to [`MEMORY`] is noticed. A burst is no rhythm: rounds faster than [`FASTEST`] soon make the target
//! contested, and are noticed once they are slowed down by that.
//!
//! It is over when there was no round for [`QUIET_PERIODS`] times the usual period, at least [`QUIET`] and at most
//! [`MEMORY`]. Two missed rounds in a row are no end, even if those before were up to 30 % shorter than usual and these
//! are 30 % longer: 3 × 1.3 is less than 6 × 0.7. For [`MEMORY`] after its last round, an opponent who resumes is
//! noticed at the [`ROUNDS_TO_NOTICE_AGAIN`]th round.
//!
//! A steady conflict is only reported. It delays nothing.

use std::sync::Arc;
use std::time::{Duration, Instant};

use crate::damping::{QUIET, Quiet};
use crate::managed_fields::Writer;

/// The round of a series at which a conflict is noticed.
pub const ROUNDS_TO_NOTICE: u32 = 8;
/// The same for the next conflict, while the one before it is remembered.
pub const ROUNDS_TO_NOTICE_AGAIN: u32 = 3;
/// How long rounds are remembered.
pub const MEMORY: Duration = Duration::from_hours(3);
/// The shortest period that is noticed.
pub const FASTEST: Duration = Duration::from_millis(250);
/// After how many periods without a round a conflict is over.
pub const QUIET_PERIODS: u32 = 6;
/// The period is the mean of about as many of the last gaps, and the culprit the one of most of as many rounds.
const RECENT: u32 = 8;

/// A steady conflict, as it is reported.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SteadyConflict {
    /// Who caused most of the last rounds. `None`: unknown.
    pub by: Option<Arc<Writer>>,
    /// Who probably caused them, if `by` is unknown.
    pub likely_by: Option<Arc<str>>,
    /// The usual time between two rounds, rounded to milliseconds.
    pub period: Duration,
    /// How many rounds there were.
    pub rounds: u32,
}

impl SteadyConflict {
    /// The length of the names in it, in bytes.
    pub fn names_len(&self) -> usize {
        self.by.as_ref().map_or(0, |writer| writer.manager.len())
            + self.likely_by.as_ref().map_or(0, |name| name.len())
    }
}

/// The rounds of one target, in a fixed size.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Rounds {
    series: Option<Series>,
    /// How long the last conflict is remembered. `None`: there was none.
    remembered_until: Option<Instant>,
}

/// The current series.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Series {
    last: Instant,
    rounds: u32,
    is_noticed: bool,
    /// The mean of the last gaps.
    period: Duration,
    culprit: Culprit,
}

/// Who caused most of the last rounds: a candidate, who gains a vote by each round of theirs and loses one by each of
/// somebody else's. Unknown is a candidate, too, so that one known round does not make a culprit of its author.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Culprit {
    candidate: Option<Arc<Writer>>,
    votes: u32,
}

impl Rounds {
    /// Records a round that ended at `now`.
    pub fn record(&mut self, by: Option<&Arc<Writer>>, now: Instant) {
        let series = match self.series.take() {
            Some(series) if series.is_over(now) => {
                self.remembered_until = Some(series.forgotten_at());
                Series::begin(by, now)
            }
            Some(series) if now <= series.forgotten_at() => series.and(by, now),
            Some(_) | None => Series::begin(by, now),
        };
        let is_known = self.remembered_until.is_some_and(|until| now < until);
        let needed = if is_known { ROUNDS_TO_NOTICE_AGAIN } else { ROUNDS_TO_NOTICE };
        let series = self.series.insert(series);
        series.is_noticed |= series.rounds >= needed && series.period >= FASTEST;
    }

    /// Records that no round is in progress, which ends a conflict after a while.
    pub fn record_quiet(&mut self, now: Instant) -> Quiet {
        match self.series.as_ref().filter(|series| series.is_noticed) {
            None => Quiet::None,
            Some(series) if !series.is_over(now) => Quiet::EndsAt(series.ends()),
            Some(series) => {
                self.remembered_until = Some(series.forgotten_at());
                self.series = None;
                Quiet::Ended
            }
        }
    }

    /// The steady conflict, if there is one. `suspect` is who probably caused rounds of unknown cause.
    pub fn steady(&self, suspect: impl FnOnce() -> Option<Arc<str>>) -> Option<SteadyConflict> {
        let Series { rounds, period, culprit, .. } =
            self.series.as_ref().filter(|series| series.is_noticed)?;
        let by = culprit.candidate.clone();
        let likely_by = if by.is_none() { suspect() } else { None };
        let period = Duration::from_secs_f64((period.as_secs_f64() * 1000.0).round() / 1000.0);
        Some(SteadyConflict { by, likely_by, period, rounds: *rounds })
    }

    /// Whether there is a steady conflict.
    pub fn is_steady(&self) -> bool {
        self.series.as_ref().is_some_and(|series| series.is_noticed)
    }

    /// Whether nothing has to be remembered any more.
    pub(crate) fn is_forgotten(&self, now: Instant) -> bool {
        self.series.as_ref().is_none_or(|series| series.forgotten_at() < now)
            && self.remembered_until.is_none_or(|until| until <= now)
    }
}

impl Series {
    fn begin(by: Option<&Arc<Writer>>, now: Instant) -> Self {
        let culprit = Culprit { candidate: by.cloned(), votes: 1 };
        Self { last: now, rounds: 1, is_noticed: false, period: Duration::ZERO, culprit }
    }

    /// Adds a round.
    fn and(mut self, by: Option<&Arc<Writer>>, now: Instant) -> Self {
        // The first gaps have equal weights. `rounds` is the number of gaps, with this one.
        let gaps = self.rounds.min(RECENT);
        self.period = (self.period * (gaps - 1) + now.saturating_duration_since(self.last)) / gaps;
        self.last = now;
        self.rounds = self.rounds.saturating_add(1);
        self.culprit.vote(by);
        self
    }

    /// When it is over, unless there is another round before.
    fn ends(&self) -> Instant {
        self.last + (self.period * QUIET_PERIODS).clamp(QUIET, MEMORY)
    }

    /// Whether it was long enough to be a conflict, which is over.
    fn is_over(&self, now: Instant) -> bool {
        (self.is_noticed || self.rounds >= ROUNDS_TO_NOTICE) && now >= self.ends()
    }

    fn forgotten_at(&self) -> Instant {
        self.last + MEMORY
    }
}

impl Culprit {
    fn vote(&mut self, by: Option<&Arc<Writer>>) {
        if self.candidate.as_ref().map(|writer| &writer.manager) == by.map(|writer| &writer.manager) {
            self.votes = (self.votes + 1).min(RECENT);
        } else if self.votes > 0 {
            self.votes -= 1;
        } else {
            *self = Self { candidate: by.cloned(), votes: 1 };
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::managed_fields::Operation;

    const SECOND: Duration = Duration::from_secs(1);
    const MINUTE: Duration = Duration::from_mins(1);

    /// Rounds of one target, on a clock that the test moves.
    struct Scene {
        rounds: Rounds,
        now: Instant,
    }

    impl Scene {
        fn new() -> Self {
            Self { rounds: Rounds::default(), now: Instant::now() }
        }

        /// Some time passes, then there is a round.
        fn round(&mut self, after: Duration, by: Option<&str>) -> bool {
            let writer = |manager: &str| {
                let operation = Operation::Update;
                Arc::new(Writer { manager: manager.into(), operation, subresource: None })
            };
            self.now += after;
            self.rounds.record(by.map(writer).as_ref(), self.now);
            self.rounds.is_steady()
        }

        /// Rounds at a steady rhythm; returns at which of them the conflict was noticed.
        fn rounds(&mut self, times: u32, period: Duration) -> Option<u32> {
            let steady: Vec<bool> = (0..times).map(|_| self.round(period, Some("flux"))).collect();
            (1..=times).zip(steady).find(|(_, is_steady)| *is_steady).map(|(round, _)| round)
        }

        fn steady(&self) -> SteadyConflict {
            self.rounds.steady(|| Some("suspect".into())).expect("steady")
        }

        /// Who is named, as a fact or not.
        fn named(&self) -> (Option<String>, Option<String>) {
            let SteadyConflict { by, likely_by, .. } = self.steady();
            (by.map(|by| by.manager.to_string()), likely_by.map(|suspect| suspect.to_string()))
        }
    }

    #[test]
    fn any_rhythm_is_noticed_with_its_period() {
        for period in [SECOND, 2 * SECOND, 15 * SECOND, MINUTE, 15 * MINUTE, 60 * MINUTE, 179 * MINUTE] {
            let mut scene = Scene::new();
            assert_eq!(scene.rounds(20, period), Some(ROUNDS_TO_NOTICE), "{period:?}");
            let SteadyConflict { period: seen, rounds, .. } = scene.steady();
            assert_eq!((seen, rounds), (period, 20), "{period:?}");
        }
    }

    #[test]
    fn a_burst_and_rare_changes_are_no_rhythm() {
        for period in [Duration::ZERO, FASTEST / 2, MEMORY + SECOND] {
            assert_eq!(Scene::new().rounds(100, period), None, "{period:?}");
        }
        let mut scene = Scene::new();
        scene.rounds(20, Duration::from_millis(20));
        assert!(scene.round(5 * SECOND, None), "slowed down, it is noticed");
    }

    #[test]
    fn waits_that_grow_like_those_of_argo_cd_are_noticed() {
        let mut scene = Scene::new();
        let waits = [0, 2, 6, 18, 54, 162, 300, 300, 300, 300];
        let steady = waits.map(|wait| scene.round(wait * SECOND, Some("argocd-controller")));
        assert_eq!(steady.map(u8::from), [0, 0, 0, 0, 0, 0, 0, 1, 1, 1]);
        let quiet = scene.rounds.record_quiet(scene.now + 300 * SECOND);
        assert!(matches!(quiet, Quiet::EndsAt(_)), "{quiet:?}");
    }

    #[test]
    fn it_is_over_after_six_periods_and_noticed_again_after_three_rounds() {
        for (period, ends) in [
            (SECOND, QUIET),
            (MINUTE, QUIET),
            (5 * MINUTE, 30 * MINUTE),
            (15 * MINUTE, 90 * MINUTE),
            (60 * MINUTE, MEMORY),
        ] {
            let mut scene = Scene::new();
            scene.rounds(ROUNDS_TO_NOTICE - 1, period);
            assert_eq!(scene.rounds.record_quiet(scene.now + ends), Quiet::None, "{period:?}");
            scene.rounds(1, period);
            let last = scene.now;
            assert_eq!(
                scene.rounds.record_quiet(last + ends.saturating_sub(SECOND)),
                Quiet::EndsAt(last + ends),
                "{period:?}"
            );
            assert_eq!(scene.rounds.record_quiet(last + ends), Quiet::Ended, "{period:?}");
            assert_eq!(scene.rounds.record_quiet(last + ends), Quiet::None, "{period:?}");
            assert!(!scene.rounds.is_steady());

            let needed = if ends < MEMORY { ROUNDS_TO_NOTICE_AGAIN } else { ROUNDS_TO_NOTICE };
            scene.now = last + ends.max(MEMORY.saturating_sub(4 * period));
            assert_eq!(scene.rounds(ROUNDS_TO_NOTICE, period), Some(needed), "{period:?}");
            assert_eq!(scene.steady().rounds, ROUNDS_TO_NOTICE, "{period:?}: a new series");
        }
    }

    #[test]
    fn a_round_after_the_end_begins_anew_even_if_nobody_looked_in_between() {
        let mut scene = Scene::new();
        scene.rounds(30, MINUTE);
        assert!(!scene.round(QUIET, Some("kubectl")));
        assert!(!scene.round(MINUTE, Some("kubectl")));
        assert!(scene.round(MINUTE, Some("kubectl")));
        assert_eq!((scene.steady().rounds, scene.named().0.as_deref()), (3, Some("kubectl")));
    }

    #[test]
    fn nothing_is_remembered_for_ever() {
        for rounds in [1, ROUNDS_TO_NOTICE] {
            let mut scene = Scene::new();
            scene.rounds(rounds, MINUTE);
            scene.rounds.record_quiet(scene.now + QUIET);
            assert!(!scene.rounds.is_forgotten(scene.now + MEMORY.saturating_sub(SECOND)), "{rounds}");
            assert!(scene.rounds.is_forgotten(scene.now + MEMORY + SECOND), "{rounds}");
            scene.now += MEMORY + SECOND;
            assert_eq!(scene.rounds(ROUNDS_TO_NOTICE, MINUTE), Some(ROUNDS_TO_NOTICE), "{rounds}");
        }
    }

    #[test]
    fn who_caused_most_of_the_last_rounds_is_named() {
        let (flux, helm, unknown) = (Some("flux"), Some("helm"), None);
        for (rounds, expected) in [
            ([flux; 10], "flux"),
            ([flux, flux, flux, flux, helm, flux, flux, flux, helm, unknown], "flux"),
            ([unknown, unknown, unknown, flux, unknown, unknown, unknown, unknown, unknown, flux], ""),
            ([flux, flux, unknown, flux, flux, unknown, flux, flux, unknown, flux], "flux"),
        ] {
            let mut scene = Scene::new();
            for by in rounds {
                scene.round(MINUTE, by);
            }
            let expected = if expected.is_empty() {
                (None, Some("suspect".to_owned()))
            } else {
                (Some(expected.to_owned()), None)
            };
            assert_eq!(scene.named(), expected, "{rounds:?}");
        }
        let mut scene = Scene::new();
        scene.rounds(10_000, MINUTE);
        for _ in 0..=2 * RECENT {
            scene.round(MINUTE, helm);
        }
        assert_eq!(scene.named().0.as_deref(), helm, "another opponent is named soon");
    }
}
