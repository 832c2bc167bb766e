//! The whole domain against an adversary and a failing API server: a model of the reconciler in which anything can
//! happen between two steps.
//!
//! Safety: every write is decided on the newest acknowledged setting and replaces only the count that it was decided
//! on. So an acknowledged count is never overwritten by an older one that was decided later. A fight costs no more
//! writes than the damping allows. A count that we wrote is never blamed on another server. Liveness: once the adversary stops and the API server works, the count becomes the
//! desired one within the longest delay, without any wake-up besides those that the steps left in the queue.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use proptest::prelude::*;
use replica_count_core::clock::Now;
use replica_count_core::conflict::{ConflictState, DELAYS, QUIET};
use replica_count_core::decide::Repair;
use replica_count_core::event::EventKind;
use replica_count_core::failures::{BACKOFF, Failure, WriteError};
use replica_count_core::index::Index;
use replica_count_core::observed::Observation;
use replica_count_core::policy::Policy;
use replica_count_core::queue::Queue;
use replica_count_core::record::{InEffect, Record};
use replica_count_core::setting::Setting;
use replica_count_core::step::{self, Cause, Next, step};
use replica_count_core::target::Target;

use crate::ms;
use crate::world::{World, count, deliver, target};

/// The longest time that the API server asks to wait.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(20);

/// The outcome of a write.
#[derive(Clone, Copy, Debug)]
enum Outcome {
    /// It lands or is stale, and the answer arrives.
    Answered,
    /// It lands or is stale, and the answer is lost.
    Unanswered(Failure),
    /// It does not land.
    Failed(Failure, Duration),
}

/// Something that happens.
#[derive(Clone, Copy, Debug)]
enum Action {
    Wait(Duration),
    Change(i32),
    Create(i32),
    Delete,
    Set(i32),
    Autoscaler(bool),
    /// The watch delivers the next event.
    Deliver,
    /// The watch delivers any earlier event again.
    Redeliver(prop::sample::Index),
    /// The watch works again after a failure.
    Reconnect,
    /// A due target is decided on. The resulting write is in flight until it ends.
    Work,
    EndWrite(Outcome),
}

fn outcome() -> impl Strategy<Value = Outcome> {
    let lost = prop::sample::select(vec![Failure::Unreachable, Failure::Deadline]);
    let refused = prop::sample::select(vec![Failure::Forbidden, Failure::Refused, Failure::Failed]);
    prop_oneof![
        8 => Just(Outcome::Answered),
        1 => lost.clone().prop_map(Outcome::Unanswered),
        1 => lost.prop_map(|failure| Outcome::Failed(failure, Duration::ZERO)),
        1 => refused.prop_map(|failure| Outcome::Failed(failure, Duration::ZERO)),
        1 => (0..=MAX_RETRY_AFTER.as_secs()).prop_map(|s| Outcome::Failed(Failure::Throttled, Duration::from_secs(s))),
    ]
}

fn action() -> impl Strategy<Value = Action> {
    prop_oneof![
        4 => (0..3_000u64).prop_map(|wait| Action::Wait(ms(wait))),
        6 => (0..4).prop_map(Action::Change),
        1 => (0..4).prop_map(Action::Create),
        1 => Just(Action::Delete),
        2 => (0..4).prop_map(Action::Set),
        1 => any::<bool>().prop_map(Action::Autoscaler),
        8 => Just(Action::Deliver),
        2 => any::<prop::sample::Index>().prop_map(Action::Redeliver),
        1 => Just(Action::Reconnect),
        8 => Just(Action::Work),
        8 => outcome().prop_map(Action::EndWrite),
    ]
}

/// The server without its clock and its connections.
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
    /// The times of conflicts since the last Set of another count.
    conflicts: Vec<Instant>,
    /// How often the count was confirmed since then.
    confirmations: usize,
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
            confirmations: 0,
        }
    }

    fn forget_conflicts(&mut self) {
        self.conflicts.clear();
        self.confirmations = 0;
    }

    fn mark(&mut self) {
        self.queue.mark(target(), self.now);
    }

    fn set(&mut self, n: i32) {
        let generation = self.setting.generation + 1;
        self.setting = Setting { generation, ..Setting::of(count(n)) };
        match self.record.in_effect {
            // A confirmation only lets the next repair not wait.
            InEffect::Was(before) | InEffect::Perhaps(before) if before == count(n) => {
                self.confirmations += 1;
            }
            _ => self.forget_conflicts(),
        }
        self.record.record_setting(count(n));
        self.mark();
    }

    /// Takes the target if it is due, and does everything except the write.
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
                EventKind::Autoscaled { .. } | EventKind::Calmed => self.forget_conflicts(),
                EventKind::AnotherServer { .. } => panic!("there is none: {event:?}"),
                _ => {}
            }
        }
        match step.next {
            Next::Write(repair) => {
                assert_eq!(repair.to, self.setting.replicas, "decided on an older setting");
                assert_ne!(repair.from, repair.to, "nothing to repair");
                self.write = Some(repair);
            }
            Next::RequeueAt(until) => {
                self.queue.mark(target.clone(), until);
                self.queue.done(&target);
            }
            Next::AwaitChange => self.queue.done(&target),
        }
    }

    /// Ends the write in flight, if there is one.
    fn end_write(&mut self, world: &mut World, outcome: Outcome) {
        let Some(repair) = self.write.take() else { return };
        let failed = |failure, retry_after| {
            step::Outcome::Failed(WriteError { retry_after, ..WriteError::new(failure, None, String::new()) })
        };
        let outcome = match outcome {
            Outcome::Answered => self.answered(world.write(&repair), &repair),
            Outcome::Unanswered(failure) => {
                world.write(&repair);
                failed(failure, Duration::ZERO)
            }
            Outcome::Failed(failure, retry_after) => failed(failure, retry_after),
        };
        let cause = Cause::WriteEnded { repair: &repair, outcome };
        let now = self.clocks();
        let step = step(&mut self.record, &target(), cause, &Policy::default(), now, 0.0);
        if let Next::RequeueAt(until) = step.next {
            self.queue.mark(target(), until);
        }
        self.queue.done(&target());
    }

    /// The outcome in the answer to a write.
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
            None => step::Outcome::Failed(WriteError::new(Failure::Stale, Some(422), String::new())),
        }
    }

    fn check_cost(&self) {
        let first = self.conflicts.first().copied().unwrap_or(self.now);
        let minute = first + Duration::from_mins(1);
        let writes = self.conflicts.iter().filter(|at| **at < minute).count();
        assert!(writes <= 16 + self.confirmations, "{writes} writes in the first minute");
    }

    fn clocks(&self) -> Now {
        Now { wall: Timestamp::UNIX_EPOCH + (self.now - self.start), monotonic: self.now }
    }
}

/// The server, the cluster and the adversary in it.
#[derive(Debug)]
struct Simulation {
    world: World,
    server: Server,
    /// How many events the watch has delivered.
    delivered: usize,
}

impl Simulation {
    fn apply(&mut self, action: Action) {
        let Self { world, server, delivered } = self;
        match action {
            Action::Wait(wait) => server.now += wait,
            Action::Change(n) => world.change(count(n)),
            Action::Create(n) => world.create(count(n)),
            Action::Delete => world.delete(),
            Action::Set(n) => server.set(n),
            Action::Autoscaler(has_autoscaler) => {
                server.has_autoscaler = has_autoscaler;
                server.mark();
            }
            Action::Deliver => {
                if let Some(event) = world.events.get(*delivered) {
                    deliver(&mut server.index, event);
                    server.mark();
                    *delivered += 1;
                }
            }
            Action::Redeliver(which) => {
                if *delivered > 0 {
                    deliver(&mut server.index, &world.events[which.index(*delivered)]);
                    server.mark();
                }
            }
            Action::Reconnect => {
                if server.record.record_reconnect() {
                    server.mark();
                }
            }
            Action::Work => server.work(),
            Action::EndWrite(outcome) => server.end_write(world, outcome),
        }
    }

    /// The adversary stops, the API server works, and the watch lists everything once more.
    fn stop_adversary(&mut self) {
        self.server.end_write(&mut self.world, Outcome::Answered);
        self.world.create(count(3));
        self.world.list(&mut self.server.index);
        self.delivered = self.world.events.len();
        self.server.mark();
    }

    /// Works on the queue until a time.
    fn run_until(&mut self, until: Instant) {
        let mut rounds = 0;
        while let Some(due) = self.server.queue.next_due().filter(|due| *due <= until) {
            rounds += 1;
            assert!(rounds < 1_000, "an endless loop");
            self.server.now = self.server.now.max(due);
            self.server.work();
            self.server.end_write(&mut self.world, Outcome::Answered);
            self.deliver_all();
        }
        self.server.now = until;
    }

    fn deliver_all(&mut self) {
        while self.delivered < self.world.events.len() {
            self.apply(Action::Deliver);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn is_safe_at_every_step_and_converges_when_the_adversary_stops(
        actions in prop::collection::vec(action(), 0..160),
    ) {
        let mut simulation = Simulation { world: World::default(), server: Server::new(), delivered: 0 };
        for action in actions {
            simulation.apply(action);
        }
        simulation.stop_adversary();
        let stopped = simulation.server.now;
        simulation.run_until(stopped + DELAYS.cap + BACKOFF.cap + MAX_RETRY_AFTER);
        prop_assert_eq!(simulation.world.deployment().unwrap().replicas, simulation.server.setting.replicas);
        prop_assert_eq!(&simulation.server.record.open_drift, &None, "an unresolved drift");
        simulation.run_until(simulation.server.now + QUIET);
        prop_assert_ne!(simulation.server.record.conflict_state(), ConflictState::Contested);
    }

    /// Only a fight, in which some changes come between the decision and the write.
    #[test]
    fn a_fight_is_damped(changes in prop::collection::vec((0..4, any::<bool>(), 0..2_000u64), 60)) {
        let mut simulation = Simulation { world: World::default(), server: Server::new(), delivered: 0 };
        simulation.world.create(count(1));
        for (n, is_before_write, wait) in changes {
            simulation.apply(Action::Change(n));
            simulation.deliver_all();
            simulation.apply(Action::Work);
            if is_before_write {
                simulation.apply(Action::Change(n + 4));
            }
            simulation.apply(Action::EndWrite(Outcome::Answered));
            simulation.deliver_all();
            simulation.apply(Action::Work);
            simulation.apply(Action::EndWrite(Outcome::Answered));
            simulation.apply(Action::Wait(ms(wait)));
        }
        prop_assert_eq!(simulation.server.record.conflict_state(), ConflictState::Contested);
    }
}
