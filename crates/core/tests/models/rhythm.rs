//! Opponents with a rhythm, against all of the domain: they are noticed, and below the budget never delayed.

use std::time::{Duration, Instant};

use proptest::prelude::*;
use replica_count_core::damping::{BUDGET, QUIET};
use replica_count_core::event::EventKind;
use replica_count_core::steady::{MEMORY, QUIET_PERIODS, ROUNDS_TO_NOTICE, SteadyConflict};

use crate::budget::Budget;
use crate::ms;
use crate::simulation::{Action, Outcome, Simulation};
use crate::world::{ADVERSARY, count};

/// A steady fight must be noticed within as many rounds.
const NOTICED_WITHIN: usize = 10;
/// How much shorter or longer than usual a round may be.
const JITTER: f64 = 0.3;

/// Somebody who changes the count again and again.
#[derive(Clone, Debug)]
struct Opponent {
    period: Duration,
    /// For each round, how much longer it takes than the period, and how many rounds are missed before it.
    rounds: Vec<(f64, u32)>,
}

impl Opponent {
    /// When it changes the count, after the start.
    fn changes(&self) -> Vec<Duration> {
        let mut at = Duration::ZERO;
        let waits =
            self.rounds.iter().map(|(jitter, missed)| self.period.mul_f64(1.0 + jitter) * (1 + missed));
        waits
            .map(|wait| {
                at += wait;
                at
            })
            .collect()
    }
}

/// With any period from a second to 15 minutes, short ones as often as long ones. Mostly no rounds are missed, and
/// never more than two in a row.
fn opponent() -> impl Strategy<Value = Opponent> {
    let period = (0.0..1.0).prop_map(|exponent: f64| Duration::from_secs_f64(900f64.powf(exponent)));
    let missed = prop_oneof![8 => Just(0), 1 => Just(1), 1 => Just(2)];
    let rounds = prop::collection::vec((-JITTER..JITTER, missed), 24);
    (period, rounds).prop_map(|(period, rounds)| Opponent { period, rounds })
}

/// An autoscaler that comes or goes before some changes, and somebody who sets the wall clock.
fn disturbances() -> impl Strategy<Value = Vec<(Option<bool>, i64)>> {
    prop::collection::vec((prop::option::weighted(0.3, any::<bool>()), -100_000..100_000i64), 48)
}

struct Fight {
    simulation: Simulation,
    start: Instant,
    changes: i32,
}

impl Fight {
    fn new() -> Self {
        let mut simulation = Simulation::new();
        simulation.apply(Action::Create(1));
        simulation.deliver_all();
        let start = simulation.server.now;
        simulation.run_until(start);
        Self { simulation, start, changes: 0 }
    }

    /// Somebody changes the count. It is repaired at once, unless that is delayed.
    fn change(&mut self, by: &str, after: Duration) {
        self.simulation.run_until(self.start + after);
        self.changes += 1;
        self.simulation.world.change_by(by, count(2 + self.changes % 5));
        self.simulation.deliver_all();
        self.simulation.run_until(self.start + after);
    }

    /// How many drifts were repaired since a steady conflict ended.
    fn rounds(&self) -> usize {
        let kinds = self.simulation.server.events.iter().rev().map(|event| &event.kind);
        let since_the_end = kinds.take_while(|kind| !matches!(kind, EventKind::SteadyConflictEnded));
        since_the_end.filter(|kind| matches!(kind, EventKind::Repaired { .. })).count()
    }

    /// The steady conflicts that were reported, and how many have ended.
    fn told(&self) -> (Vec<&SteadyConflict>, usize) {
        let kinds = || self.simulation.server.events.iter().map(|event| &event.kind);
        let told = kinds().filter_map(|kind| match kind {
            EventKind::SteadyConflict(conflict) => Some(conflict),
            _ => None,
        });
        (told.collect(), kinds().filter(|kind| matches!(kind, EventKind::SteadyConflictEnded)).count())
    }

    fn is_repaired(&self) -> bool {
        self.simulation.world.deployment().unwrap().replicas == count(1)
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn a_steady_opponent_is_noticed_and_within_the_budget_never_delayed(
        opponent in opponent(),
        clock_changes in prop::collection::vec(-100_000..100_000i64, 24),
    ) {
        let mut fight = Fight::new();
        let mut people = Budget::new(fight.start);
        let mut is_within_budget = true;
        for (at, clock_change) in opponent.changes().into_iter().zip(clock_changes) {
            fight.simulation.apply(Action::SetClock(clock_change));
            fight.change(ADVERSARY, at);
            people.take(fight.start + at);
            is_within_budget &= people.has_left(1, BUDGET, fight.start + at);
            if is_within_budget {
                prop_assert!(fight.is_repaired(), "delayed");
                prop_assert_eq!(fight.simulation.server.record.conflict.contested(), None);
            }
            let is_told = !fight.told().0.is_empty();
            prop_assert_eq!(is_told, fight.rounds() >= ROUNDS_TO_NOTICE as usize, "{} rounds", fight.rounds());
        }
        let (told, ended) = fight.told();
        prop_assert!(matches!(told[..], [SteadyConflict { by: Some(by), .. }] if &*by.manager == ADVERSARY), "{told:?}");
        prop_assert_eq!(ended, 0);
        let now = fight.simulation.server.now;
        let conflict = fight.simulation.server.record.steady_conflict(now).unwrap();
        prop_assert_eq!(conflict.rounds as usize, fight.rounds());
        if is_within_budget {
            let (least, most) = (opponent.period.mul_f64(1.0 - JITTER), opponent.period.mul_f64(3.0 * (1.0 + JITTER)));
            prop_assert!(least <= conflict.period && conflict.period <= most, "{:?}", conflict.period);
        }

        // It is over after a while, which is related to the period.
        let quiet = (conflict.period * QUIET_PERIODS).max(QUIET).min(MEMORY);
        fight.simulation.run_until(now + MEMORY);
        prop_assert_eq!(fight.told().1, 1);
        let ended = fight.simulation.server.events.last().unwrap();
        prop_assert!(matches!(ended.kind, EventKind::SteadyConflictEnded));
        if is_within_budget {
            let at = ended.at.as_millisecond() - fight.simulation.server.clock_change * 1000;
            let expected = (now + quiet - fight.simulation.server.started()).as_millis();
            prop_assert!(at.abs_diff(i64::try_from(expected).unwrap()) <= 10, "{at} {expected}");
        }
    }

    #[test]
    fn two_opponents_and_an_autoscaler_that_comes_and_goes_are_noticed(
        opponents in [opponent(), opponent()],
        disturbances in disturbances(),
    ) {
        let mut fight = Fight::new();
        let by = |name: &'static str| move |at| (at, name);
        let (first, second) = (opponents[0].changes(), opponents[1].changes());
        let mut changes: Vec<_> =
            first.into_iter().map(by(ADVERSARY)).chain(second.into_iter().map(by("second"))).collect();
        changes.sort();
        for ((at, name), (autoscaler, clock_change)) in changes.into_iter().zip(disturbances) {
            fight.simulation.run_until(fight.start + at.saturating_sub(ms(1)));
            fight.simulation.apply(Action::SetClock(clock_change));
            if let Some(is_there) = autoscaler {
                fight.simulation.apply(Action::Autoscaler(is_there));
            }
            fight.change(name, at);
            if fight.rounds() >= NOTICED_WITHIN {
                prop_assert!(fight.simulation.server.record.conflict.is_steady(), "{} rounds", fight.rounds());
            }
        }
    }

    /// An answer that is lost, or a write that comes too late, hides no opponent.
    #[test]
    fn faults_hide_no_opponent(
        opponent in opponent(),
        is_lost in prop::collection::vec(any::<bool>(), 24),
    ) {
        let mut fight = Fight::new();
        for (at, is_lost) in opponent.changes().into_iter().zip(is_lost) {
            let Fight { simulation, start, .. } = &mut fight;
            simulation.run_until(*start + at);
            simulation.world.change(count(5));
            simulation.deliver_all();
            simulation.apply(Action::Work);
            let lost = Outcome::Unanswered(replica_count_core::failures::Failure::Deadline);
            simulation.apply(Action::EndWrite(if is_lost { lost } else { Outcome::Answered }));
            simulation.deliver_all();
        }
        prop_assert!(fight.simulation.server.record.conflict.is_steady());
    }
}
