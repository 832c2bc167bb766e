//! All of the domain together, against an adversary and an API server that fails: a model of the reconciler, in which
//! a step is anything that can happen between two others.
//!
//! Safety: a write is only ever decided on the newest acknowledged setting, and replaces nothing but the count that it
//! was decided on, so no acknowledged count is overwritten by an older one that was decided later. And a fight costs no
//! more writes than the damping allows. Liveness: once the adversary stops and the API server works, the count is the
//! desired one within the longest delay, with no other wake-up than those that the steps left in the queue.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use proptest::prelude::*;
use replica_count_core::clock::Now;
use replica_count_core::conflict::{ConflictState, DELAYS, QUIET};
use replica_count_core::decide::Repair;
use replica_count_core::event::EventKind;
use replica_count_core::failures::{BACKOFF, Failure};
use replica_count_core::index::Index;
use replica_count_core::observed::Observation;
use replica_count_core::policy::Policy;
use replica_count_core::queue::Queue;
use replica_count_core::record::{InEffect, Record};
use replica_count_core::setting::Setting;
use replica_count_core::step::{self, Cause, Next, step};
use replica_count_core::target::Target;

use crate::ms;
use crate::world::{World, count, show, target};

/// The most that the API server asks to wait.
const ASKED: Duration = Duration::from_secs(20);

/// What becomes of a write.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// It lands, or is stale, and the answer says so.
    Answered,
    /// It lands, or is stale, and nobody hears of it.
    Unanswered(Failure),
    /// It does not land.
    Failed(Failure, Duration),
}

#[derive(Clone, Copy, Debug)]
enum Turn {
    Wait(Duration),
    Change(i32),
    Create(i32),
    Delete,
    Set(i32),
    Autoscaler(bool),
    /// The watch shows what comes next, or anything so far again.
    Show,
    ShowAgain(prop::sample::Index),
    /// The watch works again after a failure.
    Contact,
    /// Whatever is due is decided; a write that follows is in flight until it ends.
    Work,
    End(Outcome),
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let lost = prop::sample::select(vec![Failure::Unreachable, Failure::Deadline]);
    let refused = prop::sample::select(vec![Failure::Forbidden, Failure::Refused, Failure::Failed]);
    prop_oneof![
        8 => Just(Outcome::Answered),
        1 => lost.clone().prop_map(Outcome::Unanswered),
        1 => lost.prop_map(|failure| Outcome::Failed(failure, Duration::ZERO)),
        1 => refused.prop_map(|failure| Outcome::Failed(failure, Duration::ZERO)),
        1 => (0..=ASKED.as_secs()).prop_map(|s| Outcome::Failed(Failure::Throttled, Duration::from_secs(s))),
    ]
}

fn turn() -> impl Strategy<Value = Turn> {
    prop_oneof![
        4 => (0..3_000u64).prop_map(|wait| Turn::Wait(ms(wait))),
        6 => (0..4).prop_map(Turn::Change),
        1 => (0..4).prop_map(Turn::Create),
        1 => Just(Turn::Delete),
        2 => (0..4).prop_map(Turn::Set),
        1 => any::<bool>().prop_map(Turn::Autoscaler),
        8 => Just(Turn::Show),
        2 => any::<prop::sample::Index>().prop_map(Turn::ShowAgain),
        1 => Just(Turn::Contact),
        8 => Just(Turn::Work),
        8 => outcome().prop_map(Turn::End),
    ]
}

/// The server, but for its clock and its connections.
#[derive(Debug)]
struct Server {
    start: Instant,
    now: Instant,
    setting: Setting,
    record: Record,
    index: Index,
    queue: Queue<Target>,
    has_autoscaler: bool,
    /// The write in flight.
    write: Option<Repair>,
    /// When conflicts were recorded since the last Set of another count.
    conflicts: Vec<Instant>,
    /// How often the count was confirmed since then.
    confirmed: usize,
}

impl Server {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            start: now,
            now,
            setting: Setting::of(count(1)),
            record: Record::default(),
            index: Index::default(),
            queue: Queue::default(),
            has_autoscaler: false,
            write: None,
            conflicts: Vec::new(),
            confirmed: 0,
        }
    }

    fn forget_fight(&mut self) {
        self.conflicts.clear();
        self.confirmed = 0;
    }

    fn mark(&mut self) {
        self.queue.mark(target(), self.now);
    }

    fn set(&mut self, n: i32) {
        let generation = self.setting.generation + 1;
        self.setting = Setting { generation, ..Setting::of(count(n)) };
        match self.record.in_effect {
            // Confirmed: the next repair does not wait, and that is all.
            InEffect::Was(before) | InEffect::Perhaps(before) if before == count(n) => self.confirmed += 1,
            _ => self.forget_fight(),
        }
        self.record.follow_setting(count(n));
        self.mark();
    }

    /// Takes the target if it is due, and does all of it but the write.
    fn work(&mut self) {
        let Some(target) = self.queue.take(self.now) else { return };
        let autoscaler = self.has_autoscaler.then(|| Arc::from("autoscaler"));
        let observation = self.index.get(&target).map_or(Observation::Absent, Observation::Present);
        let (setting, autoscaler) = (&self.setting, autoscaler.as_ref());
        let cause = Cause::Due { setting, observation, autoscaler };
        let now = self.clocks();
        let step = step(&mut self.record, &target, cause, &Policy::default(), now, 0.0);
        for event in &step.events {
            match event.kind {
                EventKind::Autoscaled { .. } | EventKind::Calmed => self.forget_fight(),
                _ => {}
            }
        }
        match step.next {
            Next::Write(repair) => {
                assert_eq!(repair.to, self.setting.replicas, "decided on an older setting");
                assert_ne!(repair.from, repair.to, "nothing to repair");
                self.write = Some(repair);
            }
            Next::Wait(until) => {
                self.queue.mark(target.clone(), until);
                self.queue.done(&target);
            }
            Next::Rest => self.queue.done(&target),
        }
    }

    /// Ends the write that is in flight, if there is one.
    fn end(&mut self, world: &mut World, outcome: Outcome) {
        let Some(repair) = self.write.take() else { return };
        let failed =
            |failure, retry_after| step::Outcome::Failed { failure, words: String::new(), retry_after };
        let outcome = match outcome {
            Outcome::Answered => self.answered(world.write(&repair), &repair),
            Outcome::Unanswered(failure) => {
                world.write(&repair);
                failed(failure, Duration::ZERO)
            }
            Outcome::Failed(failure, asked) => failed(failure, asked),
        };
        let cause = Cause::Ended { repair: &repair, outcome };
        let now = self.clocks();
        let step = step(&mut self.record, &target(), cause, &Policy::default(), now, 0.0);
        if let Next::Wait(until) = step.next {
            self.queue.mark(target(), until);
        }
        self.queue.done(&target());
    }

    /// What the answer to a write says.
    fn answered(&mut self, written: Option<NonZeroU64>, repair: &Repair) -> step::Outcome {
        if let Some(version) = written {
            self.index.record_write(&target(), &repair.uid, version, repair.to);
        }
        if written.is_none() || repair.drift.is_some() {
            self.conflicts.push(self.now);
            self.check_cost();
        }
        match written {
            Some(_) => step::Outcome::Written { took: Duration::ZERO },
            None => step::Outcome::Failed {
                failure: Failure::Stale,
                words: String::new(),
                retry_after: Duration::ZERO,
            },
        }
    }

    fn check_cost(&self) {
        let first = self.conflicts.first().copied().unwrap_or(self.now);
        let minute = first + Duration::from_mins(1);
        let writes = self.conflicts.iter().filter(|at| **at < minute).count();
        assert!(writes <= 16 + self.confirmed, "{writes} writes in the first minute");
    }

    fn clocks(&self) -> Now {
        Now { wall: Timestamp::UNIX_EPOCH + (self.now - self.start), monotonic: self.now }
    }
}

/// The server, the cluster and the adversary in it.
#[derive(Debug)]
struct Play {
    world: World,
    server: Server,
    /// How many events the watch has shown.
    shown: usize,
}

impl Play {
    fn turn(&mut self, turn: Turn) {
        let Self { world, server, shown } = self;
        match turn {
            Turn::Wait(wait) => server.now += wait,
            Turn::Change(n) => world.change(count(n)),
            Turn::Create(n) => world.create(count(n)),
            Turn::Delete => world.delete(),
            Turn::Set(n) => server.set(n),
            Turn::Autoscaler(has_autoscaler) => {
                server.has_autoscaler = has_autoscaler;
                server.mark();
            }
            Turn::Show => {
                if let Some(event) = world.events.get(*shown) {
                    show(&mut server.index, event);
                    server.mark();
                    *shown += 1;
                }
            }
            Turn::ShowAgain(which) => {
                if *shown > 0 {
                    show(&mut server.index, &world.events[which.index(*shown)]);
                    server.mark();
                }
            }
            Turn::Contact => {
                if server.record.record_contact() {
                    server.mark();
                }
            }
            Turn::Work => server.work(),
            Turn::End(outcome) => server.end(world, outcome),
        }
    }

    /// The adversary stops, the API server works, and the watch shows everything once more.
    fn calm_down(&mut self) {
        self.server.end(&mut self.world, Outcome::Answered);
        self.world.create(count(3));
        self.world.list(&mut self.server.index);
        self.shown = self.world.events.len();
        self.server.mark();
    }

    /// Goes on with what is in the queue until a time.
    fn go_on(&mut self, until: Instant) {
        let mut turns = 0;
        while let Some(due) = self.server.queue.next_due().filter(|due| *due <= until) {
            turns += 1;
            assert!(turns < 1_000, "busy without end");
            self.server.now = self.server.now.max(due);
            self.server.work();
            self.server.end(&mut self.world, Outcome::Answered);
            self.show_all();
        }
        self.server.now = until;
    }

    fn show_all(&mut self) {
        while self.shown < self.world.events.len() {
            self.turn(Turn::Show);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn is_safe_at_every_step_and_ends_when_the_adversary_stops(
        turns in prop::collection::vec(turn(), 0..160),
    ) {
        let mut play = Play { world: World::default(), server: Server::new(), shown: 0 };
        for turn in turns {
            play.turn(turn);
        }
        play.calm_down();
        let stopped = play.server.now;
        play.go_on(stopped + DELAYS.cap + BACKOFF.cap + ASKED);
        prop_assert_eq!(play.world.deployment().unwrap().replicas, play.server.setting.replicas);
        prop_assert_eq!(&play.server.record.open, &None, "a drift without an end");
        play.go_on(play.server.now + QUIET);
        prop_assert_ne!(play.server.record.conflict_state(), ConflictState::Contested);
    }

    /// The same with nothing but a fight, in which some changes come between the decision and the write.
    #[test]
    fn a_fight_is_damped(changes in prop::collection::vec((0..4, any::<bool>(), 0..2_000u64), 60)) {
        let mut play = Play { world: World::default(), server: Server::new(), shown: 0 };
        play.world.create(count(1));
        for (n, is_late, wait) in changes {
            play.turn(Turn::Change(n));
            play.show_all();
            play.turn(Turn::Work);
            if is_late {
                play.turn(Turn::Change(n + 4));
            }
            play.turn(Turn::End(Outcome::Answered));
            play.show_all();
            play.turn(Turn::Work);
            play.turn(Turn::End(Outcome::Answered));
            play.turn(Turn::Wait(ms(wait)));
        }
        prop_assert_eq!(play.server.record.conflict_state(), ConflictState::Contested);
    }
}
