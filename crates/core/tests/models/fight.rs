//! All of the domain together, against an adversary and an API server that fails: a model of the reconciler, in which
//! a step is anything that can happen between two others.
//!
//! Safety: a write is only ever decided on the newest acknowledged setting, and replaces nothing but the count that it
//! was decided on, so no acknowledged count is overwritten by an older one that was decided later. And a fight costs no
//! more writes than the damping allows. Liveness: once the adversary stops and the API server works, the count is the
//! desired one within the longest delay, with no other wake-up than those that the steps left in the queue.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use jiff::Timestamp;
use proptest::prelude::*;
use replica_count_core::backoff::Moment;
use replica_count_core::damping::{DELAYS, QUIET, Truce};
use replica_count_core::decide::{Decision, Now, Policy, Repair, decide};
use replica_count_core::failures::{BACKOFF, Failure};
use replica_count_core::history::{History, InEffect, Opposition};
use replica_count_core::index::Index;
use replica_count_core::observed::Observation;
use replica_count_core::queue::Queue;
use replica_count_core::setting::Setting;
use replica_count_core::state::State;
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
enum Step {
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
    /// Whatever is due is decided; a write that follows is under way until it ends.
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

fn step() -> impl Strategy<Value = Step> {
    prop_oneof![
        4 => (0..3_000u64).prop_map(|wait| Step::Wait(ms(wait))),
        6 => (0..4).prop_map(Step::Change),
        1 => (0..4).prop_map(Step::Create),
        1 => Just(Step::Delete),
        2 => (0..4).prop_map(Step::Set),
        1 => any::<bool>().prop_map(Step::Autoscaler),
        8 => Just(Step::Show),
        2 => any::<prop::sample::Index>().prop_map(Step::ShowAgain),
        1 => Just(Step::Contact),
        8 => Just(Step::Work),
        8 => outcome().prop_map(Step::End),
    ]
}

/// The server, but for its clock and its connections.
#[derive(Debug)]
struct Server {
    start: Instant,
    now: Instant,
    setting: Setting,
    history: History,
    index: Index,
    queue: Queue<Target>,
    has_autoscaler: bool,
    /// The write under way.
    write: Option<Repair>,
    /// When writes were answered that an adversary made necessary or stale, since the last Set of another count.
    bouts: Vec<Instant>,
    /// How often the count was confirmed since then.
    hastened: usize,
}

impl Server {
    fn new() -> Self {
        let now = Instant::now();
        Self {
            start: now,
            now,
            setting: Setting::of(count(1)),
            history: History::default(),
            index: Index::default(),
            queue: Queue::default(),
            has_autoscaler: false,
            write: None,
            bouts: Vec::new(),
            hastened: 0,
        }
    }

    fn forget_fight(&mut self) {
        self.bouts.clear();
        self.hastened = 0;
    }

    fn moment(&self) -> Moment {
        Moment { at: self.now, jitter: 0.0 }
    }

    fn mark(&mut self) {
        self.queue.mark(target(), self.now);
    }

    fn set(&mut self, n: i32) {
        let generation = self.setting.generation + 1;
        self.setting = Setting { generation, ..Setting::of(count(n)) };
        match self.history.in_effect {
            // Confirmed: the next repair does not wait, and that is all.
            InEffect::Was(before) | InEffect::Perhaps(before) if before == count(n) => self.hastened += 1,
            _ => self.forget_fight(),
        }
        self.history.forgive_for_new_setting(count(n));
        self.mark();
    }

    /// Takes the target if it is due, and does all of it but the write.
    fn work(&mut self) {
        let Some(target) = self.queue.take(self.now) else { return };
        let autoscaler = self.has_autoscaler.then(|| "autoscaler".into());
        if self.history.record_autoscaler(autoscaler.as_ref()) {
            self.forget_fight();
        }
        let observation = self.index.get(&target).map_or(Observation::Absent, Observation::Present);
        let wall = Timestamp::UNIX_EPOCH + (self.now - self.start);
        let now = Now { wall, monotonic: self.now };
        let policy = Policy::default();
        match decide(&target, &self.setting, observation, &self.history, &policy, now) {
            Decision::Repair(repair) => {
                assert_eq!(repair.to, self.setting.replicas, "decided on an older setting");
                assert_ne!(repair.from, repair.to, "nothing to repair");
                if let Some(drift) = &repair.drift {
                    self.history.record_drift(drift, self.now);
                }
                self.write = Some(repair);
                return;
            }
            Decision::Wait { until, drift } => {
                if let Some(drift) = &drift {
                    self.history.record_drift(drift, self.now);
                }
                self.queue.mark(target.clone(), until);
            }
            Decision::InEffect => {
                self.history.record_in_effect(self.setting.replicas, self.moment());
                self.rest();
            }
            Decision::Rest(State::Missing) => {
                self.history.record_missing();
                self.rest();
            }
            other @ (Decision::Rest(_) | Decision::Ignore { .. }) => panic!("{other:?}"),
        }
        self.queue.done(&target);
    }

    fn rest(&mut self) {
        match self.history.damping.record_quiet(self.now) {
            Truce::Until(end) => self.queue.mark(target(), end),
            Truce::Peace => self.forget_fight(),
            Truce::Calm => {}
        }
    }

    /// Ends the write that is under way, if there is one.
    fn end(&mut self, world: &mut World, outcome: Outcome) {
        let Some(repair) = self.write.take() else { return };
        match outcome {
            Outcome::Answered => self.answered(world.write(&repair), &repair),
            Outcome::Unanswered(failure) => {
                world.write(&repair);
                self.fail(&repair, failure, Duration::ZERO);
            }
            Outcome::Failed(failure, asked) => self.fail(&repair, failure, asked),
        }
        self.queue.done(&target());
    }

    fn answered(&mut self, written: Option<NonZeroU64>, repair: &Repair) {
        match written {
            Some(version) => {
                self.index.record_write(&target(), &repair.uid, version, repair.to);
                if repair.drift.is_some() {
                    self.bouts.push(self.now);
                    self.history.record_repaired(repair.to, self.moment());
                } else {
                    self.history.record_applied(repair.to);
                }
            }
            None => {
                self.bouts.push(self.now);
                self.fail(repair, Failure::Stale, Duration::ZERO);
            }
        }
        let first = self.bouts.first().copied().unwrap_or(self.now);
        let in_the_first_minute =
            self.bouts.iter().filter(|at| **at < first + Duration::from_mins(1)).count();
        assert!(
            in_the_first_minute <= 16 + self.hastened,
            "{in_the_first_minute} writes in the first minute"
        );
    }

    fn fail(&mut self, repair: &Repair, failure: Failure, asked: Duration) {
        let moment = self.moment();
        let due = self.history.record_failure(&repair.uid, failure, asked, moment).due;
        self.queue.mark(target(), due);
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
    fn step(&mut self, step: Step) {
        let Self { world, server, shown } = self;
        match step {
            Step::Wait(wait) => server.now += wait,
            Step::Change(n) => world.change(count(n)),
            Step::Create(n) => world.create(count(n)),
            Step::Delete => world.delete(),
            Step::Set(n) => server.set(n),
            Step::Autoscaler(has_autoscaler) => {
                server.has_autoscaler = has_autoscaler;
                server.mark();
            }
            Step::Show => {
                if let Some(event) = world.events.get(*shown) {
                    show(&mut server.index, event);
                    server.mark();
                    *shown += 1;
                }
            }
            Step::ShowAgain(which) => {
                if *shown > 0 {
                    show(&mut server.index, &world.events[which.index(*shown)]);
                    server.mark();
                }
            }
            Step::Contact => {
                if server.history.forgive_for_contact() {
                    server.mark();
                }
            }
            Step::Work => server.work(),
            Step::End(outcome) => server.end(world, outcome),
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
            self.step(Step::Show);
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(128))]

    #[test]
    fn is_safe_at_every_step_and_ends_when_the_adversary_stops(
        steps in prop::collection::vec(step(), 0..160),
    ) {
        let mut play = Play { world: World::default(), server: Server::new(), shown: 0 };
        for step in steps {
            play.step(step);
        }
        play.calm_down();
        let stopped = play.server.now;
        play.go_on(stopped + DELAYS.cap + BACKOFF.cap + ASKED);
        prop_assert_eq!(play.world.deployment().unwrap().replicas, play.server.setting.replicas);
        prop_assert_eq!(&play.server.history.open, &None, "a drift without an end");
        play.go_on(play.server.now + QUIET);
        prop_assert_ne!(play.server.history.opposition(), Opposition::Contest);
    }

    /// The same with nothing but a fight, in which some changes come between the decision and the write.
    #[test]
    fn a_fight_is_damped(changes in prop::collection::vec((0..4, any::<bool>(), 0..2_000u64), 60)) {
        let mut play = Play { world: World::default(), server: Server::new(), shown: 0 };
        play.world.create(count(1));
        for (n, is_late, wait) in changes {
            play.step(Step::Change(n));
            play.show_all();
            play.step(Step::Work);
            if is_late {
                play.step(Step::Change(n + 4));
            }
            play.step(Step::End(Outcome::Answered));
            play.show_all();
            play.step(Step::Work);
            play.step(Step::End(Outcome::Answered));
            play.step(Step::Wait(ms(wait)));
        }
        prop_assert_eq!(play.server.history.opposition(), Opposition::Contest);
    }
}
