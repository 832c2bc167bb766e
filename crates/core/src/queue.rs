//! The queue of targets that may need work: keyed, deduplicated and delayed.
//!
//! Anything that may need work only marks a key here. One worker at a time works on a key. A mark that arrives
//! meanwhile is not lost: the key becomes due again when the worker is done.

use std::collections::{BTreeSet, HashMap};
use std::hash::Hash;
use std::time::Instant;

/// A queue of keys, each at most once, ordered by the time they are due and then by arrival.
#[derive(Debug)]
pub struct Queue<K> {
    entries: HashMap<K, Entry>,
    waiting: BTreeSet<(Instant, u64, K)>,
    arrivals: u64,
}

#[derive(Clone, Copy, Debug)]
enum Entry {
    /// In `waiting`, under this time and arrival.
    Waiting(Instant, u64),
    /// Taken by a worker. `Some`: marked again meanwhile, for this time.
    Running(Option<Instant>),
}

impl<K> Default for Queue<K> {
    fn default() -> Self {
        Self { entries: HashMap::new(), waiting: BTreeSet::new(), arrivals: 0 }
    }
}

impl<K: Clone + Eq + Hash + Ord> Queue<K> {
    /// Makes `key` due at `due`, or earlier if it already is.
    pub fn mark(&mut self, key: K, due: Instant) {
        match self.entries.get_mut(&key) {
            None => self.wait(key, due),
            Some(Entry::Running(again)) => *again = Some(again.map_or(due, |earlier| earlier.min(due))),
            Some(Entry::Waiting(earlier, arrival)) => {
                if due < *earlier {
                    self.waiting.remove(&(*earlier, *arrival, key.clone()));
                    self.wait(key, due);
                }
            }
        }
    }

    /// Takes the key that has been due longest, if one is due at `now`. The caller works on it and then calls `done`.
    pub fn take(&mut self, now: Instant) -> Option<K> {
        if self.next_due()? > now {
            return None;
        }
        let (_, _, key) = self.waiting.pop_first()?;
        self.entries.insert(key.clone(), Entry::Running(None));
        Some(key)
    }

    /// Ends the work on `key`. If it was marked meanwhile, it waits again.
    pub fn done(&mut self, key: &K) {
        if let Some((key, Entry::Running(Some(due)))) = self.entries.remove_entry(key) {
            self.wait(key, due);
        }
    }

    /// When the next waiting key is due.
    pub fn next_due(&self) -> Option<Instant> {
        self.waiting.first().map(|(due, _, _)| *due)
    }

    /// How many keys are waiting or in work.
    pub fn len(&self) -> usize {
        self.entries.len()
    }

    /// Whether no key is waiting or in work.
    pub fn is_empty(&self) -> bool {
        self.entries.is_empty()
    }

    fn wait(&mut self, key: K, due: Instant) {
        self.arrivals += 1;
        self.entries.insert(key.clone(), Entry::Waiting(due, self.arrivals));
        self.waiting.insert((due, self.arrivals, key));
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use proptest::prelude::*;

    use super::*;

    #[test]
    fn due_keys_are_first_in_first_out() {
        let now = Instant::now();
        let mut queue = Queue::default();
        for key in ["c", "a", "b", "a"] {
            queue.mark(key, now);
        }
        assert_eq!([queue.take(now), queue.take(now), queue.take(now)], [Some("c"), Some("a"), Some("b")]);
        assert_eq!(queue.take(now), None);
    }

    #[test]
    fn a_key_waits_until_due_and_only_becomes_due_earlier() {
        let now = Instant::now();
        let later = now + Duration::from_secs(1);
        let mut queue = Queue::default();
        queue.mark("a", later);
        assert_eq!(queue.take(now), None);
        assert_eq!(queue.next_due(), Some(later));
        queue.mark("a", later + Duration::from_secs(1));
        assert_eq!(queue.next_due(), Some(later));
        queue.mark("a", now);
        assert_eq!(queue.take(now), Some("a"));
    }

    #[test]
    fn a_mark_during_work_is_kept() {
        let now = Instant::now();
        let mut queue = Queue::default();
        queue.mark("a", now);
        assert_eq!(queue.take(now), Some("a"));
        queue.mark("a", now + Duration::from_secs(9));
        queue.mark("a", now);
        assert_eq!(queue.take(now), None, "one worker at a time");
        queue.done(&"a");
        assert_eq!(queue.take(now), Some("a"));
        queue.done(&"a");
        assert!(queue.is_empty());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Mark(u8, u64),
        Take(u64),
        Done(u8),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..4u8, 0..9u64).prop_map(|(key, due)| Step::Mark(key, due)),
            (0..9u64).prop_map(Step::Take),
            (0..4u8).prop_map(Step::Done),
        ]
    }

    proptest! {
        /// Compared with a model that keeps plain lists of waiting and running keys.
        #[test]
        fn behaves_like_a_plain_list(steps in prop::collection::vec(step(), 0..64)) {
            let start = Instant::now();
            let at = |second: u64| start + Duration::from_secs(second);
            let mut queue = Queue::default();
            let mut waiting: Vec<(u64, u8)> = Vec::new();
            let mut running: HashMap<u8, Option<u64>> = HashMap::new();
            for step in steps {
                match step {
                    Step::Mark(key, due) => {
                        queue.mark(key, at(due));
                        if let Some(again) = running.get_mut(&key) {
                            *again = Some(again.map_or(due, |earlier| earlier.min(due)));
                        } else if !waiting.iter().any(|(earlier, other)| *other == key && *earlier <= due) {
                            waiting.retain(|(_, other)| *other != key);
                            waiting.push((due, key));
                        }
                    }
                    Step::Take(now) => {
                        let first = waiting.iter().filter(|(due, _)| *due <= now).min_by_key(|(due, _)| *due).copied();
                        prop_assert_eq!(queue.take(at(now)), first.map(|(_, key)| key));
                        if let Some((_, key)) = first {
                            waiting.retain(|(_, other)| *other != key);
                            running.insert(key, None);
                        }
                    }
                    Step::Done(key) => if let Some(again) = running.remove(&key) {
                        queue.done(&key);
                        waiting.extend(again.map(|due| (due, key)));
                    }
                }
                prop_assert_eq!(queue.len(), waiting.len() + running.len());
                prop_assert_eq!(queue.next_due(), waiting.iter().map(|(due, _)| at(*due)).min());
            }
        }
    }
}
