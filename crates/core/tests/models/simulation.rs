//! The whole domain against an adversary and a failing API server: a model of the reconciler in which anything can
//! happen between two steps.
//!
//! Safety: every write is decided on the newest acknowledged setting and replaces only the count that it was decided
//! on. So an acknowledged count is never overwritten by an older one that was decided later. A fight costs no more
//! writes than the damping allows, and nobody who changes the count within the budget is damped. A count that we wrote is
//! never blamed on another server. Liveness: once the adversary stops and the API server works, the count becomes the
//! desired one within the longest delay, without any wake-up besides those that the steps left in the queue.

use std::num::NonZeroU64;
use std::sync::Arc;
use std::time::{Duration, Instant};

use jiff::{SignedDuration, Timestamp};
use proptest::prelude::*;
use replica_count_core::clock::Now;
use replica_count_core::conflict::{Basis, Conflict, ConflictState};
use replica_count_core::damping::{BUDGET, DELAYS, QUIET, REFILL};
use replica_count_core::decide::Repair;
use replica_count_core::drift::Drift;
use replica_count_core::event::{Event, EventKind};
use replica_count_core::failures::{BACKOFF, Failure, WriteError};
use replica_count_core::guard::GuardState;
use replica_count_core::index::Index;
use replica_count_core::observed::Observation;
use replica_count_core::policy::Policy;
use replica_count_core::queue::Queue;
use replica_count_core::record::{InEffect, Record};
use replica_count_core::replicas::Replicas;
use replica_count_core::setting::{Hold, Setting};
use replica_count_core::steady::MEMORY;
use replica_count_core::step::{self, Cause, Next, step};
use replica_count_core::target::Target;
use replica_count_core::uid::Uid;

use crate::budget::Budget;
use crate::ms;
use crate::world::{ADVERSARY, World, count, deliver, target};

/// The longest time that the API server asks to wait.
const MAX_RETRY_AFTER: Duration = Duration::from_secs(20);

/// The limit of writes in a minute.
const MAX_WRITES: usize = 20;
/// A change may be counted when its write has ended, after the next one was seen: then the budget has one less than by
/// the times at which changes were seen.
const IN_FLIGHT: u32 = 1;

/// The outcome of a write.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Outcome {
    /// It lands or is stale, and the answer arrives.
    Answered,
    /// It lands or is stale, and the answer is lost.
    Unanswered(Failure),
    /// It does not land.
    Failed(Failure, Duration),
}

/// Something that happens.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Action {
    Wait(Duration),
    Change(i32),
    /// Something else than the count changes.
    Touch,
    Create(i32),
    Delete,
    Set(i32),
    /// A temporary count, for this many seconds.
    Hold(i32, u64),
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
    /// Somebody sets the wall clock, by this many seconds.
    SetClock(i64),
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
        2 => Just(Action::Touch),
        1 => (0..4).prop_map(Action::Create),
        1 => Just(Action::Delete),
        2 => (0..4).prop_map(Action::Set),
        1 => (0..4, 1..100u64).prop_map(|(n, seconds)| Action::Hold(n, seconds)),
        1 => any::<bool>().prop_map(Action::Autoscaler),
        8 => Just(Action::Deliver),
        2 => any::<prop::sample::Index>().prop_map(Action::Redeliver),
        1 => Just(Action::Reconnect),
        8 => Just(Action::Work),
        8 => outcome().prop_map(Action::EndWrite),
        1 => (-100_000..100_000i64).prop_map(Action::SetClock),
    ]
}

/// The server without its clock and its connections.
#[derive(Debug)]
pub(crate) struct Server {
    start: Instant,
    pub(crate) now: Instant,
    /// By how much somebody has set the wall clock.
    pub(crate) clock_change: i64,
    setting: Setting,
    pub(crate) record: Record,
    index: Index,
    queue: Queue<Target>,
    has_autoscaler: bool,
    /// The write in flight.
    write: Option<Repair>,
    /// What happened, in order.
    pub(crate) events: Vec<Event>,
    /// The times of writes that repaired a drift or came too late since the last Set of another count.
    writes: Vec<Instant>,
    /// How often the count was confirmed since then.
    confirmations: usize,
    /// The undesired counts that were seen, and confirmations, as a budget.
    people: Budget,
    /// The undesired count that was seen last.
    seen: Option<(Uid, i32)>,
    /// The undesired count for which a write came too late last.
    too_late: Option<(Uid, i32)>,
}

impl Server {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            start: now,
            now,
            clock_change: 0,
            setting: Setting::of(count(1)),
            record: Record::default(),
            index: Index::default(),
            queue: Queue::default(),
            has_autoscaler: false,
            write: None,
            events: Vec::new(),
            writes: Vec::new(),
            confirmations: 0,
            people: Budget::new(now),
            seen: None,
            too_late: None,
        }
    }

    /// The undesired count that the index shows.
    fn undesired(&self) -> Option<(Uid, i32)> {
        let observed = self.index.get(&target())?;
        let view = (observed.uid.clone(), observed.replicas.get());
        (observed.replicas != self.desired()).then_some(view)
    }

    /// The count that is desired now.
    fn desired(&self) -> Replicas {
        let in_force = Arc::new(self.setting.clone()).at(self.clocks().wall);
        in_force.expect("there was a setting before each temporary count").replicas
    }

    /// Counts an undesired count that was not seen before.
    fn look(&mut self) {
        let undesired = self.undesired();
        if undesired.is_some() && undesired != self.seen {
            self.people.take(self.now);
        }
        self.seen = undesired;
    }

    fn mark(&mut self) {
        self.queue.mark(target(), self.now);
    }

    fn set(&mut self, n: i32) {
        self.change(Setting::of(count(n)));
    }

    fn hold(&mut self, n: i32, lasts: Duration) {
        let hold = Hold { until: self.clocks().wall + lasts, afterwards: self.setting.lasting() };
        self.change(Setting { hold: Some(hold), ..Setting::of(count(n)) });
    }

    fn change(&mut self, setting: Setting) {
        self.setting = Setting { generation: self.setting.generation + 1, ..setting };
        let replicas = self.setting.replicas;
        self.count_setting(self.record.in_effect, replicas);
        self.record.record_setting(replicas);
        self.mark();
    }

    /// Another count is desired than the one that was in effect, or the same again.
    fn count_setting(&mut self, in_effect: InEffect, desired: Replicas) {
        match in_effect {
            // A confirmation only lets the next repair not wait.
            InEffect::Was(before) | InEffect::Perhaps(before) if before == desired => {
                self.confirmations += 1;
                self.people.take(self.now);
            }
            _ => {
                self.writes.clear();
                self.confirmations = 0;
                self.people = Budget::new(self.now);
                self.seen = None;
            }
        }
    }

    fn step(&mut self, cause: Cause<'_>) -> Next {
        let was_contested = self.record.conflict.contested().is_some();
        let had_autoscaler = self.record.autoscaler.is_some();
        let (now, in_effect) = (self.clocks(), self.record.in_effect);
        let step = step(&mut self.record, &target(), cause, &Policy::default(), now, 0.0);
        let is_contested = self.record.conflict.contested().is_some();
        let has_autoscaler = self.record.autoscaler.is_some();
        // Without an autoscaler, only those who exceed the budget are damped.
        if is_contested && !has_autoscaler && (!was_contested || had_autoscaler) {
            let is_within_budget = self.people.has_left(1 + IN_FLIGHT, BUDGET, self.now);
            assert!(!is_within_budget, "damped too early");
        }
        for event in &step.events {
            match event.kind {
                EventKind::AnotherServer { .. } => panic!("there is none: {event:?}"),
                EventKind::HoldEnded { to, .. } => self.count_setting(in_effect, to.expect("lasting")),
                _ => {}
            }
        }
        self.events.extend(step.events);
        step.next
    }

    /// Takes the target if it is due, and does everything except the write.
    fn work(&mut self) {
        let Some(target) = self.queue.take(self.now) else { return };
        let autoscaler = self.has_autoscaler.then(|| Arc::from("autoscaler"));
        let (setting, observed) = (Arc::new(self.setting.clone()), self.index.get(&target).cloned());
        let observation = observed.as_ref().map_or(Observation::Absent, Observation::Present);
        let (autoscaler, guard_state) = (autoscaler.as_ref(), GuardState::Unguarded);
        let cause = Cause::Due { setting: &setting, observation, autoscaler, guard_state };
        match self.step(cause) {
            Next::Write(repair) => {
                assert_eq!(repair.to, self.desired(), "decided on an older setting");
                assert_ne!(repair.from, repair.to, "nothing to repair");
                self.write = Some(repair);
            }
            Next::RequeueAt(until) => {
                self.check_wait(until);
                self.queue.mark(target.clone(), until);
                self.queue.done(&target);
            }
            Next::AwaitChange => self.queue.done(&target),
        }
    }

    /// A repair waits only after a failure, in a fight that exceeds the budget, or to be repeated.
    fn check_wait(&self, until: Instant) {
        let undesired = self.undesired();
        let has_failed = self.record.failures.as_ref().is_some_and(|failures| failures.retry_at.is_some());
        if undesired.is_some() && !has_failed && self.record.conflict.contested().is_none() {
            assert_eq!(undesired, self.too_late, "delayed without a reason");
            assert!(until <= self.now + REFILL, "delayed by {:?}", until - self.now);
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
                if world.write(&repair).is_some() {
                    self.record_write(&repair);
                }
                failed(failure, Duration::ZERO)
            }
            Outcome::Failed(failure, retry_after) => failed(failure, retry_after),
        };
        let next = self.step(Cause::WriteEnded { repair: &repair, outcome });
        if let Next::RequeueAt(until) = next {
            self.queue.mark(target(), until);
        }
        self.queue.done(&target());
    }

    /// The outcome in the answer to a write.
    fn answered(&mut self, written: Option<NonZeroU64>, repair: &Repair) -> step::Outcome {
        if let Some(version) = written {
            self.index.record_write(&target(), &repair.uid, version, repair.to);
            self.record_write(repair);
            return step::Outcome::Written { took: Duration::ZERO };
        }
        // Whatever changes makes a write late that tests the version.
        if repair.method.basis() == Basis::Count {
            self.too_late = Some((repair.uid.clone(), repair.from.get()));
            self.writes.push(self.now);
            self.check_cost();
        }
        step::Outcome::Failed(WriteError::new(Failure::Stale, Some(422), String::new()))
    }

    /// Counts a write that landed.
    fn record_write(&mut self, repair: &Repair) {
        if repair.drift.is_some() {
            self.writes.push(self.now);
            self.check_cost();
        }
    }

    fn check_cost(&self) {
        let in_a_minute = self.writes.iter().filter(|at| **at + Duration::from_mins(1) > self.now).count();
        assert!(in_a_minute <= MAX_WRITES + self.confirmations, "{in_a_minute} writes in a minute");
    }

    /// When the server started.
    pub(crate) fn started(&self) -> Instant {
        self.start
    }

    fn drifts(&self) -> impl Iterator<Item = &Drift> {
        self.events.iter().filter_map(|event| match &event.kind {
            EventKind::Drifted { drift, .. } => Some(drift),
            _ => None,
        })
    }

    fn clocks(&self) -> Now {
        let changed = SignedDuration::from_secs(self.clock_change);
        Now { wall: Timestamp::UNIX_EPOCH + (self.now - self.start) + changed, monotonic: self.now }
    }
}

/// The server, the cluster and the adversary in it.
#[derive(Debug)]
pub(crate) struct Simulation {
    pub(crate) world: World,
    pub(crate) server: Server,
    /// How many events the watch has delivered.
    delivered: usize,
}

impl Simulation {
    pub(crate) fn new() -> Self {
        Self { world: World::default(), server: Server::new(), delivered: 0 }
    }

    pub(crate) fn apply(&mut self, action: Action) {
        let Self { world, server, delivered } = self;
        match action {
            Action::Wait(wait) => server.now += wait,
            Action::Change(n) => world.change(count(n)),
            Action::Touch => world.touch(),
            Action::Create(n) => world.create(count(n)),
            Action::Delete => world.delete(),
            Action::Set(n) => server.set(n),
            Action::Hold(n, seconds) => server.hold(n, Duration::from_secs(seconds)),
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
            Action::SetClock(change) => server.clock_change = change,
        }
        server.look();
    }

    /// The adversary stops, the API server works, and the watch lists everything once more.
    fn stop_adversary(&mut self) {
        self.server.end_write(&mut self.world, Outcome::Answered);
        self.world.create(count(3));
        self.world.list(&mut self.server.index);
        self.delivered = self.world.events.len();
        self.server.mark();
        self.server.look();
    }

    /// Works on the queue until a time.
    pub(crate) fn run_until(&mut self, until: Instant) {
        let mut rounds = 0;
        while let Some(due) = self.server.queue.next_due().filter(|due| *due <= until) {
            rounds += 1;
            assert!(rounds < 1_000, "an endless loop");
            self.server.now = self.server.now.max(due);
            self.apply(Action::Work);
            self.apply(Action::EndWrite(Outcome::Answered));
            self.deliver_all();
        }
        self.server.now = until;
    }

    pub(crate) fn deliver_all(&mut self) {
        while self.delivered < self.world.events.len() {
            self.apply(Action::Deliver);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(500))]

    #[test]
    fn is_safe_at_every_step_and_converges_when_the_adversary_stops(
        actions in prop::collection::vec(action(), 0..160),
    ) {
        let mut simulation = Simulation::new();
        for action in actions {
            simulation.apply(action);
        }
        simulation.stop_adversary();
        let stopped = simulation.server.now;
        simulation.run_until(stopped + DELAYS.cap + BACKOFF.cap + MAX_RETRY_AFTER);
        prop_assert_eq!(simulation.world.deployment().unwrap().replicas, simulation.server.desired());
        prop_assert_eq!(&simulation.server.record.open_drift, &None, "an unresolved drift");
        simulation.run_until(simulation.server.now + QUIET);
        prop_assert_ne!(simulation.server.record.conflict_state(), ConflictState::Contested);
        simulation.run_until(simulation.server.now + MEMORY);
        simulation.server.mark();
        simulation.run_until(simulation.server.now + ms(1));
        prop_assert_eq!(&simulation.server.record.conflict, &Conflict::default(), "remembered for ever");
        for drift in simulation.server.drifts() {
            let (by, likely_by) = (drift.manager(), drift.likely_by.as_deref());
            prop_assert!(["", ADVERSARY].contains(&by), "{by}");
            prop_assert!([None, Some(ADVERSARY), Some("autoscaler")].contains(&likely_by), "{likely_by:?}");
            prop_assert!(by.is_empty() || likely_by.is_none(), "a fact is not suspected, too");
        }
    }


    /// Whatever the API server and the watch do, even if it lasts long.
    #[test]
    fn nobody_who_stays_within_the_budget_is_damped(actions in prop::collection::vec(action(), 0..300)) {
        let mut simulation = Simulation::new();
        simulation.apply(Action::Create(1));
        for action in actions {
            let is_change = match action {
                Action::Change(_)
                | Action::Create(_)
                | Action::Delete
                | Action::Redeliver(_)
                | Action::Set(_) => true,
                // One that appears is damped at once.
                Action::Autoscaler(_) => continue,
                _ => false,
            };
            let server = &simulation.server;
            // What is not delivered yet is a change, too.
            let pending = u32::try_from(simulation.world.events.len() - simulation.delivered).unwrap();
            if is_change && !server.people.has_left(2 + IN_FLIGHT + pending, BUDGET, server.now) {
                continue;
            }
            simulation.apply(action);
            prop_assert_eq!(simulation.server.record.conflict.contested(), None);
        }
    }

    /// Only a fight, in which some changes come between the decision and the write.
    #[test]
    fn a_fight_is_damped(changes in prop::collection::vec((0..4, any::<bool>(), 0..2_000u64), 60)) {
        let mut simulation = Simulation::new();
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

/// Whoever writes the status, again and again, between the decision and the write is no opponent.
#[test]
fn writes_of_the_status_delay_no_repair() {
    for touches in 0..4 {
        for desired in [None, Some(3)] {
            let mut simulation = Simulation::new();
            simulation.apply(Action::Create(1));
            simulation.apply(Action::Autoscaler(true));
            simulation.deliver_all();
            let start = simulation.server.now;
            simulation.run_until(start);
            // Kubernetes records no owner of a 0.
            simulation.world.change(count(0));
            simulation.deliver_all();
            if let Some(desired) = desired {
                simulation.apply(Action::Set(desired));
            }
            for _ in 0..touches {
                simulation.apply(Action::Work);
                simulation.apply(Action::Touch);
                simulation.apply(Action::EndWrite(Outcome::Answered));
                simulation.deliver_all();
                let replicas = simulation.world.deployment().unwrap().replicas;
                if replicas == count(0) {
                    assert_eq!(simulation.server.record.conflict.contested(), None, "{touches} {desired:?}");
                }
            }
            simulation.run_until(start);
            let expected = count(desired.unwrap_or(1));
            assert_eq!(simulation.world.deployment().unwrap().replicas, expected, "{touches} {desired:?}");
        }
    }
}
