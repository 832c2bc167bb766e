//! Several replicas elect a holder, with delays, pauses, lost messages, broken watches, wrong clocks and people who delete
//! the Lease: no two terms ever overlap, and once all is quiet, there is one.

use std::num::NonZeroU64;
use std::time::{Duration, Instant};

use proptest::collection::vec;
use proptest::prelude::*;
use replica_count_core::leader::{Action, Elector, Outcome, Request, Timing};
use replica_count_core::lease::{Holder, Lease, Observation};

use crate::ms;

/// How long a step of the world takes, in milliseconds.
const STEP: u64 = 50;
const FAULTS_END: u64 = 120_000;
/// Longer than the longest foreign lease, a whole duration, and what slow clocks add.
const QUIET: u64 = 90_000;

/// What goes wrong.
#[derive(Clone, Copy, Debug)]
enum Fault {
    /// A replica stands still.
    Pause { replica: usize, lasts: u64 },
    /// Its requests take longer to arrive, and their answers to return.
    Delay { replica: usize, lasts: u64, there: u64, back: u64 },
    /// Its requests do not arrive.
    LoseRequests { replica: usize, lasts: u64 },
    /// The answers do not.
    LoseAnswers { replica: usize, lasts: u64 },
    /// Its watch shows nothing, and then everything at once.
    BreakWatch { replica: usize, lasts: u64 },
    /// It is killed; another one starts in its place.
    Kill { replica: usize },
    /// It ends in an orderly way, after its writes; another one starts in its place.
    Stop { replica: usize, drains: u64 },
    /// Somebody deletes the Lease.
    Delete,
    /// Somebody makes another one, with the same name.
    Replace,
    /// Somebody adds a label.
    Touch,
    /// Somebody shortens the duration.
    Shorten,
    /// Somebody damages it.
    Damage,
    /// Another program takes it.
    Usurp { seconds: Option<u64> },
}

fn fault() -> impl Strategy<Value = Fault> {
    let replica = || 0..3_usize;
    let lasts = || prop_oneof![100..3_000_u64, 3_000..40_000_u64];
    let delay = || prop_oneof![0..500_u64, 500..20_000_u64];
    prop_oneof![
        3 => (replica(), lasts()).prop_map(|(replica, lasts)| Fault::Pause { replica, lasts }),
        3 => (replica(), lasts(), delay(), delay())
            .prop_map(|(replica, lasts, there, back)| Fault::Delay { replica, lasts, there, back }),
        2 => (replica(), lasts()).prop_map(|(replica, lasts)| Fault::LoseRequests { replica, lasts }),
        2 => (replica(), lasts()).prop_map(|(replica, lasts)| Fault::LoseAnswers { replica, lasts }),
        2 => (replica(), lasts()).prop_map(|(replica, lasts)| Fault::BreakWatch { replica, lasts }),
        2 => replica().prop_map(|replica| Fault::Kill { replica }),
        2 => (replica(), 0..5_000_u64).prop_map(|(replica, drains)| Fault::Stop { replica, drains }),
        2 => Just(Fault::Delete),
        1 => Just(Fault::Replace),
        1 => Just(Fault::Touch),
        1 => Just(Fault::Shorten),
        1 => Just(Fault::Damage),
        1 => proptest::option::of(1..40_u64).prop_map(|seconds| Fault::Usurp { seconds }),
    ]
}

/// The API server: one object, and what happened to it.
#[derive(Default)]
struct Store {
    lease: Option<Lease>,
    version: u64,
    uids: u64,
    events: Vec<Observation>,
}

impl Store {
    fn next_version(&mut self) -> NonZeroU64 {
        self.version += 1;
        NonZeroU64::new(self.version).unwrap()
    }

    fn create(&mut self, holder: Holder) -> Lease {
        self.uids += 1;
        let lease = Lease { uid: format!("u{}", self.uids).into(), version: self.next_version(), holder };
        self.put(lease)
    }

    fn put(&mut self, lease: Lease) -> Lease {
        self.lease = Some(lease.clone());
        self.events.push(Observation::Present(lease.clone()));
        lease
    }

    fn replace(&mut self, holder: Holder) -> Option<Lease> {
        let lease = Lease { holder, ..self.lease.clone()? };
        let version = self.next_version();
        Some(self.put(Lease { version, ..lease }))
    }

    fn delete(&mut self) {
        if self.lease.take().is_some() {
            let version = self.next_version();
            self.events.push(Observation::Deleted(version));
        }
    }

    fn answer(&mut self, identity: &str, request: &Request) -> Outcome {
        let held =
            Holder::Somebody { identity: identity.to_owned(), duration: Some(Timing::default().duration) };
        match request {
            Request::Read => Outcome::Read(self.lease.clone()),
            Request::Create if self.lease.is_some() => Outcome::Refused,
            Request::Create => Outcome::Written(self.create(Holder::Never)),
            Request::Hold(uid, version) | Request::Release(uid, version) => match &self.lease {
                Some(lease) if lease.uid == *uid && lease.version == *version => {
                    let holder = if matches!(request, Request::Hold(..)) { held } else { Holder::Released };
                    self.replace(holder).map_or(Outcome::Refused, Outcome::Written)
                }
                Some(_) | None => Outcome::Refused,
            },
        }
    }
}

/// A time in which a process may write, in milliseconds of the world.
#[derive(Clone, Debug)]
struct Window {
    process: String,
    term: u64,
    from: u64,
    until: u64,
}

struct Replica {
    identity: String,
    elector: Elector,
    /// When its clock began, and how many thousandths it runs in a second of the world.
    began: u64,
    rate: u64,
    base: Instant,
    paused_until: u64,
    watch_broken_until: u64,
    seen_events: usize,
    requests: u64,
    /// The request in flight, and the deadline by its own clock.
    in_flight: Option<(u64, Instant)>,
    /// When an orderly end is complete.
    drained_at: Option<u64>,
    is_finished: bool,
    delays: (u64, u64, u64),
    lose_requests_until: u64,
    lose_answers_until: u64,
}

impl Replica {
    fn new(identity: String, rate: u64, now: u64) -> Self {
        let base = Instant::now();
        Self {
            elector: Elector::new(identity.clone(), Timing::default(), base),
            identity,
            began: now,
            rate,
            base,
            paused_until: 0,
            watch_broken_until: 0,
            seen_events: 0,
            requests: 0,
            in_flight: None,
            drained_at: None,
            is_finished: false,
            delays: (0, 0, 0),
            lose_requests_until: 0,
            lose_answers_until: 0,
        }
    }

    fn clock(&self, now: u64) -> Instant {
        self.base + Duration::from_micros((now - self.began) * self.rate)
    }

    /// When its clock will show this, in the time of the world.
    fn world_time(&self, at: Instant) -> u64 {
        let micros = u64::try_from(at.duration_since(self.base).as_micros()).unwrap();
        self.began + micros.div_ceil(self.rate)
    }
}

enum Message {
    Request { arrives: u64, replica: usize, identity: String, number: u64, request: Request },
    Answer { arrives: u64, replica: usize, identity: String, number: u64, outcome: Outcome },
}

impl Message {
    fn arrives(&self) -> u64 {
        match self {
            Self::Request { arrives, .. } | Self::Answer { arrives, .. } => *arrives,
        }
    }
}

struct World {
    now: u64,
    store: Store,
    replicas: Vec<Replica>,
    processes: usize,
    messages: Vec<Message>,
    windows: Vec<Window>,
}

impl World {
    fn new(rates: [u64; 3]) -> Self {
        let replicas = rates.iter().enumerate().map(|(n, rate)| Replica::new(format!("p{n}"), *rate, 0));
        Self {
            now: 0,
            store: Store::default(),
            replicas: replicas.collect(),
            processes: 3,
            messages: Vec::new(),
            windows: Vec::new(),
        }
    }

    fn restart(&mut self, replica: usize) {
        let rate = self.replicas[replica].rate;
        self.replicas[replica] = Replica::new(format!("p{}", self.processes), rate, self.now);
        self.processes += 1;
    }

    fn inject(&mut self, fault: Fault) {
        let now = self.now;
        match fault {
            Fault::Pause { replica, lasts } => self.replicas[replica].paused_until = now + lasts,
            Fault::Delay { replica, lasts, there, back } => {
                self.replicas[replica].delays = (now + lasts, there, back);
            }
            Fault::LoseRequests { replica, lasts } => {
                self.replicas[replica].lose_requests_until = now + lasts;
            }
            Fault::LoseAnswers { replica, lasts } => self.replicas[replica].lose_answers_until = now + lasts,
            Fault::BreakWatch { replica, lasts } => self.replicas[replica].watch_broken_until = now + lasts,
            Fault::Kill { replica } => self.restart(replica),
            Fault::Stop { replica, drains } => {
                let replica = &mut self.replicas[replica];
                if replica.drained_at.is_none() {
                    replica.elector.shut_down();
                    replica.drained_at = Some(now + drains);
                }
            }
            Fault::Delete => self.store.delete(),
            Fault::Replace => {
                self.store.delete();
                self.store.create(Holder::Never);
            }
            Fault::Touch => {
                if let Some(lease) = self.store.lease.clone() {
                    self.store.replace(lease.holder);
                }
            }
            Fault::Shorten => {
                if let Some(Lease { holder: Holder::Somebody { identity, .. }, .. }) =
                    self.store.lease.clone()
                {
                    self.store.replace(Holder::Somebody { identity, duration: Some(ms(1000)) });
                }
            }
            Fault::Damage => {
                self.store.replace(Holder::Unreadable);
            }
            Fault::Usurp { seconds } => {
                let duration = seconds.map(Duration::from_secs);
                let holder = Holder::Somebody { identity: "stranger".to_owned(), duration };
                if self.store.replace(holder.clone()).is_none() {
                    self.store.create(holder);
                }
            }
        }
    }

    fn step(&mut self) {
        let (due, later) =
            std::mem::take(&mut self.messages).into_iter().partition(|message| message.arrives() <= self.now);
        self.messages = later;
        let due: Vec<Message> = due;
        for message in due {
            self.deliver(message);
        }
        for replica in 0..self.replicas.len() {
            if self.replicas[replica].paused_until <= self.now {
                self.run(replica);
            }
        }
        self.now += STEP;
    }

    fn deliver(&mut self, message: Message) {
        match message {
            Message::Request { replica, identity, number, request, .. } => {
                let outcome = self.store.answer(&identity, &request);
                let Replica { delays: (until, _, back), lose_answers_until, .. } = self.replicas[replica];
                if self.now < lose_answers_until {
                    return;
                }
                let arrives = self.now + if self.now < until { back } else { STEP };
                self.messages.push(Message::Answer { arrives, replica, identity, number, outcome });
            }
            Message::Answer { replica, identity, number, outcome, .. } => {
                let now = self.now;
                let Replica { identity: current, paused_until, in_flight, .. } = &self.replicas[replica];
                if *current != identity || in_flight.is_none_or(|(waiting, _)| waiting != number) {
                    return;
                }
                if *paused_until > now {
                    // It waits in a buffer.
                    let arrives = *paused_until;
                    self.messages.push(Message::Answer { arrives, replica, identity, number, outcome });
                    return;
                }
                let replica = &mut self.replicas[replica];
                replica.in_flight = None;
                replica.elector.answered(outcome, replica.clock(now));
            }
        }
    }

    fn run(&mut self, index: usize) {
        let (now, replica) = (self.now, &mut self.replicas[index]);
        let clock = replica.clock(now);
        if replica.watch_broken_until <= now {
            for event in &self.store.events[replica.seen_events..] {
                replica.elector.observe(event.clone(), clock);
            }
            replica.seen_events = self.store.events.len();
        }
        if replica.in_flight.is_some_and(|(_, deadline)| deadline <= clock) {
            replica.in_flight = None;
            replica.elector.answered(Outcome::Unknown, clock);
        }
        if replica.drained_at.is_some_and(|at| at <= now) {
            let windows = self.windows.iter_mut().filter(|window| window.process == replica.identity);
            for window in windows {
                window.until = window.until.min(now);
            }
            replica.elector.drained();
        }
        self.act(index);
        if self.replicas[index].is_finished {
            self.restart(index);
        }
    }

    /// Does what the elector says, until it waits.
    fn act(&mut self, index: usize) {
        let (now, replica) = (self.now, &mut self.replicas[index]);
        let clock = replica.clock(now);
        loop {
            match replica.elector.next(clock) {
                Action::Begin(term) => self.windows.push(Window {
                    process: replica.identity.clone(),
                    term: term.number,
                    from: now,
                    until: replica.world_time(term.may_write_until),
                }),
                Action::Extend(term) => {
                    let window = self.windows.iter_mut().rfind(|window| window.process == replica.identity);
                    let window = window.unwrap();
                    assert_eq!(window.term, term.number);
                    window.until = replica.world_time(term.may_write_until);
                }
                // What was sent before may still arrive until the old end.
                Action::End(..) => {}
                Action::Send(request, deadline) => {
                    replica.requests += 1;
                    let (number, (until, there, _)) = (replica.requests, replica.delays);
                    replica.in_flight = Some((number, deadline));
                    if now >= replica.lose_requests_until {
                        let arrives = now + if now < until { there } else { STEP };
                        let identity = replica.identity.clone();
                        let replica = index;
                        self.messages.push(Message::Request { arrives, replica, identity, number, request });
                    }
                }
                Action::Wait(until) => {
                    assert!(until.is_none_or(|until| until > clock), "it waits for the past");
                    break;
                }
                Action::Finish => {
                    replica.is_finished = true;
                    break;
                }
            }
        }
    }

    fn run_until(&mut self, end: u64) {
        while self.now < end {
            self.step();
        }
    }

    fn overlap(&self) -> Option<(&Window, &Window)> {
        let mut windows: Vec<_> = self.windows.iter().filter(|window| window.from < window.until).collect();
        windows.sort_by_key(|window| window.from);
        windows
            .iter()
            .zip(windows.iter().skip(1))
            .find_map(|(one, next)| (next.from < one.until).then_some((*one, *next)))
    }

    fn holders(&self) -> Vec<&str> {
        let replicas = self.replicas.iter().filter(|replica| replica.elector.term().is_some());
        replicas.map(|replica| replica.identity.as_str()).collect()
    }
}

fn rates() -> impl Strategy<Value = [u64; 3]> {
    let rate = || 900..1_100_u64;
    [rate(), rate(), rate()]
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 512, ..ProptestConfig::default() })]

    #[test]
    fn terms_never_overlap_and_there_is_one_in_the_end(
        rates in rates(),
        faults in vec((0..FAULTS_END, fault()), 0..40),
    ) {
        let mut faults = faults;
        faults.sort_by_key(|(at, _)| *at);
        let mut world = World::new(rates);
        for (at, fault) in faults {
            world.run_until(at);
            world.inject(fault);
        }
        world.run_until(FAULTS_END + QUIET);
        prop_assert!(world.overlap().is_none(), "{:?}", world.overlap());
        let holder = world.store.lease.as_ref().and_then(Lease::identity);
        prop_assert_eq!(world.holders(), Vec::from_iter(holder));
    }
}

/// A quiet world in which the first replica holds the Lease. Returns it, with its index.
fn quiet() -> (World, usize) {
    let mut world = World::new([1_000; 3]);
    world.run_until(30_000);
    assert_eq!(world.windows.len(), 1, "{:?}", world.windows);
    let holder = world.replicas.iter().position(|replica| replica.elector.term().is_some()).unwrap();
    (world, holder)
}

/// How long it takes until the next term begins.
fn next_term(world: &mut World) -> u64 {
    let (start, terms) = (world.now, world.windows.len());
    while world.windows.len() == terms {
        world.step();
    }
    assert!(world.overlap().is_none());
    world.now - start
}

#[test]
fn a_killed_holder_is_replaced_after_the_duration_and_one_that_ends_at_once() {
    let (mut world, holder) = quiet();
    world.inject(Fault::Kill { replica: holder });
    let after_kill = next_term(&mut world);
    assert!((13_000..=16_000).contains(&after_kill), "{after_kill} ms");

    let (mut world, holder) = quiet();
    world.inject(Fault::Stop { replica: holder, drains: 0 });
    let after_stop = next_term(&mut world);
    assert!(after_stop <= 6 * STEP, "{after_stop} ms");
}

#[test]
fn nobody_else_gets_the_lease_while_it_is_renewed() {
    let (mut world, holder) = quiet();
    world.run_until(600_000);
    assert_eq!(world.windows.len(), 1);
    assert_eq!(world.replicas.iter().position(|replica| replica.elector.term().is_some()), Some(holder));
}
