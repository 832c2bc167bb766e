//! Which Kubernetes Events are written for what happens, so that a fight is one Event whose series counts.
//!
//! The text of an Event cannot change. So what happens again with the same text counts in the series of the first
//! Event; what happens again with other counts gets one more Event, whose text is true for all that follow. Counts are
//! written after a while, and everything is limited: per object, per server, and in memory.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::{Duration, Instant};

use jiff::Timestamp;

use crate::bucket::{Bucket, Rate};
use crate::history::entry::{Entry, What};
use crate::words::{Severity, lasting_sentence, sentence, severity};

/// A series ends when nothing was added for so long, as in client-go.
pub const QUIET: Duration = Duration::from_mins(6);
/// How long a count that has grown waits before it is written.
pub const INTERVAL: Duration = Duration::from_secs(10);
/// New Events of one object.
const PER_OBJECT: Rate = Rate { burst: 15, period: Duration::from_secs(30) };
/// Writes of a server.
const PER_SERVER: Rate = Rate { burst: 100, period: Duration::from_millis(50) };
/// Events that wait for their first write.
const MAX_UNWRITTEN: usize = 1000;
/// Events whose series may continue.
const MAX_KEPT: usize = 4096;

/// An Event that is to be written.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told<K> {
    /// Its number in this process.
    pub id: u64,
    /// What it is about.
    pub key: K,
    /// What happened.
    pub what: What,
    /// How serious it is.
    pub severity: Severity,
    /// The text.
    pub text: Box<str>,
    /// When it happened first.
    pub first: Timestamp,
    /// When it happened last.
    pub last: Timestamp,
    /// How often.
    pub count: u32,
    /// Whether it was written before.
    pub is_written: bool,
}

/// How a write ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is written.
    Written,
    /// The Event exists: the answer to an earlier attempt was lost. Its count may be an older one.
    Exists,
    /// The Event has expired, so it is to be written anew.
    Expired,
    /// It is to be tried again later.
    Failed {
        /// After so long.
        retry_after: Duration,
    },
    /// It cannot be written.
    Refused,
}

/// The Events of a server. `K` identifies an object.
#[derive(Debug)]
pub struct Series<K> {
    kept: HashMap<u64, Kept<K>>,
    objects: HashMap<K, Object>,
    /// What is to be written, and when.
    due: BTreeSet<(Instant, u64)>,
    server: Bucket,
    unwritten: usize,
    next_id: u64,
}

#[derive(Debug)]
struct Kept<K> {
    told: Told<K>,
    /// When something was added last.
    seen: Instant,
    /// What the API server has.
    written: u32,
    /// Whether the text is true for any counts.
    is_lasting: bool,
}

/// The Events of one object.
#[derive(Debug)]
struct Object {
    bucket: Bucket,
    ids: Vec<u64>,
}

impl<K: Clone + Eq + Hash> Series<K> {
    /// No Events yet.
    pub fn new(now: Instant) -> Self {
        Self {
            kept: HashMap::new(),
            objects: HashMap::new(),
            due: BTreeSet::new(),
            server: Bucket::new(PER_SERVER, now),
            unwritten: 0,
            next_id: 0,
        }
    }

    /// Adds what has happened to an object. Returns whether it will be told; if not, it is too much.
    pub fn add(&mut self, key: &K, entry: &Entry, now: Instant) -> bool {
        let text = sentence(entry);
        if let Some(id) = self.find(key, now, |kept| *kept.told.text == *text) {
            return self.count(id, entry.at, now);
        }
        let what = entry.what;
        let has_other = self.find(key, now, |kept| kept.told.what == what).is_some();
        match lasting_sentence(entry).filter(|_| has_other) {
            Some(lasting) => match self.find(key, now, |kept| kept.is_lasting && *kept.told.text == *lasting)
            {
                Some(id) => self.count(id, entry.at, now),
                None => self.begin(key, entry, lasting, true, now),
            },
            None => self.begin(key, entry, text, false, now),
        }
    }

    /// The Event of an object whose series continues.
    fn find(&self, key: &K, now: Instant, is_it: impl Fn(&Kept<K>) -> bool) -> Option<u64> {
        let ids = &self.objects.get(key)?.ids;
        let is_current = |kept: &Kept<K>| now.duration_since(kept.seen) < QUIET && is_it(kept);
        ids.iter().copied().find(|id| self.kept.get(id).is_some_and(is_current))
    }

    fn count(&mut self, id: u64, at: Timestamp, now: Instant) -> bool {
        let Some(kept) = self.kept.get_mut(&id) else { return false };
        let is_due = kept.told.count > kept.written;
        (kept.seen, kept.told.last) = (now, kept.told.last.max(at));
        kept.told.count = kept.told.count.saturating_add(1);
        if !is_due {
            self.due.insert((now + INTERVAL, id));
        }
        true
    }

    fn begin(&mut self, key: &K, entry: &Entry, text: String, is_lasting: bool, now: Instant) -> bool {
        if self.kept.len() >= MAX_KEPT {
            self.forget(now);
        }
        if self.unwritten >= MAX_UNWRITTEN || self.kept.len() >= MAX_KEPT {
            return false;
        }
        let new = || Object { bucket: Bucket::new(PER_OBJECT, now), ids: Vec::new() };
        let object = self.objects.entry(key.clone()).or_insert_with(new);
        if !object.bucket.take(now) {
            return false;
        }
        let id = self.next_id;
        self.next_id += 1;
        object.ids.push(id);
        let (first, last) = (entry.at, entry.at);
        let (key, text, what) = (key.clone(), text.into(), entry.what);
        let (severity, count) = (severity(entry), 1);
        let told = Told { id, key, what, severity, text, first, last, count, is_written: false };
        self.kept.insert(id, Kept { told, seen: now, written: 0, is_lasting });
        self.due.insert((now, id));
        self.unwritten += 1;
        true
    }

    /// Forgets the Events whose series have ended, and objects without Events.
    fn forget(&mut self, now: Instant) {
        self.kept.retain(|_, kept| kept.told.count > kept.written || now.duration_since(kept.seen) < QUIET);
        let kept = &self.kept;
        self.objects.retain(|_, object| {
            object.ids.retain(|id| kept.contains_key(id));
            !object.ids.is_empty()
        });
    }

    /// When there may be something to write. `None`: not before something is added.
    pub fn next_at(&self, now: Instant) -> Option<Instant> {
        self.due.first().map(|(at, _)| (*at).max(self.server.ready_at(now)))
    }

    /// Takes what is to be written now. [`ended`](Self::ended) must follow.
    pub fn take(&mut self, now: Instant) -> Option<Told<K>> {
        let (at, id) = *self.due.first()?;
        if at > now || !self.server.take(now) {
            return None;
        }
        self.due.remove(&(at, id));
        self.kept.get(&id).map(|kept| kept.told.clone())
    }

    /// Records how the write of an Event ended.
    pub fn ended(&mut self, told: &Told<K>, outcome: Outcome, now: Instant) {
        let Some(kept) = self.kept.get_mut(&told.id) else { return };
        match outcome {
            Outcome::Written | Outcome::Exists => {
                self.unwritten -= usize::from(!kept.told.is_written);
                let count = if outcome == Outcome::Exists { 1 } else { told.count };
                (kept.told.is_written, kept.written) = (true, count);
                if kept.told.count > kept.written {
                    self.due.insert((now + INTERVAL, told.id));
                }
            }
            Outcome::Expired => {
                self.unwritten += usize::from(kept.told.is_written);
                kept.told.is_written = false;
                self.due.insert((now, told.id));
            }
            Outcome::Failed { retry_after } => {
                self.due.insert((now + retry_after, told.id));
            }
            Outcome::Refused => self.remove(told),
        }
    }

    fn remove(&mut self, told: &Told<K>) {
        if let Some(kept) = self.kept.remove(&told.id) {
            self.unwritten -= usize::from(!kept.told.is_written);
        }
        if let Some(object) = self.objects.get_mut(&told.key) {
            object.ids.retain(|id| *id != told.id);
        }
    }

    /// Forgets everything; returns how many Events were not written as they are.
    pub fn clear(&mut self, now: Instant) -> usize {
        let lost = self.due.len();
        *self = Self { server: self.server, next_id: self.next_id, ..Self::new(now) };
        lost
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::sample::sample;
    use crate::replicas::Replicas;

    const SECOND: Duration = Duration::from_secs(1);

    struct Fixture {
        series: Series<&'static str>,
        now: Instant,
    }

    impl Fixture {
        fn new() -> Self {
            let now = Instant::now() + Duration::from_hours(1);
            Self { series: Series::new(now), now }
        }

        fn drift(&mut self, key: &'static str, to: i32) -> bool {
            let entry = Entry { to: Replicas::new(to).ok(), ..sample("shop", "web", What::Drifted) };
            self.series.add(&key, &entry, self.now)
        }

        /// Writes all that is due; returns text and count of each.
        fn write(&mut self) -> Vec<(String, u32)> {
            let mut written = Vec::new();
            while let Some(told) = self.series.take(self.now) {
                self.series.ended(&told, Outcome::Written, self.now);
                written.push((told.text.into(), told.count));
            }
            written
        }
    }

    fn changed(to: i32) -> String {
        format!("kubectl through scale changed the count from 3 to {to}")
    }

    const LASTING: &str = "kubectl through scale changes the count; desired is 3";

    #[test]
    fn a_fight_is_one_event_that_counts() {
        let mut fixture = Fixture::new();
        assert!(fixture.drift("web", 7));
        assert_eq!(fixture.write(), [(changed(7), 1)]);
        for _ in 0..1000 {
            assert!(fixture.drift("web", 7));
        }
        assert_eq!(fixture.write(), []);
        assert_eq!(fixture.series.next_at(fixture.now), Some(fixture.now + INTERVAL));
        fixture.now += INTERVAL;
        assert_eq!(fixture.write(), [(changed(7), 1001)]);
        assert_eq!(fixture.series.next_at(fixture.now), None);
        fixture.now += QUIET;
        assert!(fixture.drift("web", 7));
        assert_eq!(fixture.write(), [(changed(7), 1)], "a new series");
    }

    #[test]
    fn a_fight_with_changing_counts_is_two_events() {
        let mut fixture = Fixture::new();
        for to in 4..500 {
            assert!(fixture.drift("web", to));
        }
        assert_eq!(fixture.write(), [(changed(4), 1), (LASTING.to_owned(), 495)]);
    }

    #[test]
    fn each_object_has_its_events() {
        let mut fixture = Fixture::new();
        assert!(fixture.drift("web", 7) && fixture.drift("api", 7));
        assert_eq!(fixture.write(), [(changed(7), 1), (changed(7), 1)]);
    }

    #[test]
    fn one_object_and_one_server_are_limited() {
        let mut fixture = Fixture::new();
        let set = |to| Entry { to: Replicas::new(to).ok(), ..sample("shop", "web", What::Set) };
        let kept = (0..100).filter(|to| fixture.series.add(&"web", &set(*to), fixture.now)).count();
        assert_eq!(kept, 15);
        assert_eq!(fixture.write().len(), 15);

        let mut series = Series::new(fixture.now);
        let drift = sample("shop", "web", What::Drifted);
        let kept = (0..10_000).filter(|key| series.add(key, &drift, fixture.now)).count();
        assert_eq!(kept, MAX_UNWRITTEN);
        let (mut now, mut written) = (fixture.now, 0);
        while let Some(at) = series.next_at(now) {
            now = at;
            let told = series.take(now).expect("due");
            series.ended(&told, Outcome::Written, now);
            written += 1;
        }
        assert_eq!(written, MAX_UNWRITTEN);
        let took = now.duration_since(fixture.now);
        assert_eq!(took, 900 * PER_SERVER.period);
    }

    #[test]
    fn what_has_ended_is_forgotten() {
        let now = Instant::now() + Duration::from_hours(1);
        let (mut series, drift) = (Series::new(now), sample("shop", "web", What::Drifted));
        for key in 0..100_000_u32 {
            let now = now + key * SECOND;
            assert!(series.add(&key, &drift, now), "{key}");
            let told = series.take(now).expect("due");
            series.ended(&told, Outcome::Written, now);
        }
        assert!(series.kept.len() <= MAX_KEPT && series.objects.len() <= MAX_KEPT);
    }

    #[test]
    fn an_event_that_has_expired_is_written_anew_and_a_refused_one_is_not() {
        let mut fixture = Fixture::new();
        fixture.drift("web", 7);
        fixture.write();
        fixture.drift("web", 7);
        fixture.now += INTERVAL;
        let told = fixture.series.take(fixture.now).expect("due");
        assert!(told.is_written);
        fixture.series.ended(&told, Outcome::Expired, fixture.now);
        let told = fixture.series.take(fixture.now).expect("due");
        assert_eq!((told.is_written, told.count), (false, 2));
        let retry_after = SECOND;
        fixture.series.ended(&told, Outcome::Failed { retry_after }, fixture.now);
        assert_eq!(fixture.series.take(fixture.now), None);
        fixture.now += SECOND;
        let told = fixture.series.take(fixture.now).expect("due");
        fixture.series.ended(&told, Outcome::Refused, fixture.now);
        assert_eq!(fixture.series.next_at(fixture.now), None);
        assert!(fixture.drift("web", 7));
    }
}
