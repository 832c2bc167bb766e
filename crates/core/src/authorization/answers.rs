//! The answers of Kubernetes that are still good: for a short time, so that a right that is taken away ends soon, and a
//! bounded number of them.

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;
use std::time::{Duration, Instant};

use super::Verdict;

/// How long an answer is good after its question.
const ALLOWED_FOR: Duration = Duration::from_secs(10);
/// A right that was just granted is soon in effect.
const DENIED_FOR: Duration = Duration::from_secs(2);

/// The answers that are still good, by question.
#[derive(Debug)]
pub struct Answers<K> {
    by_question: HashMap<K, Answer>,
    /// The order in which answers end, one queue for each verdict. What was answered anew is there twice.
    allowed: VecDeque<(Instant, K)>,
    denied: VecDeque<(Instant, K)>,
    capacity: usize,
}

#[derive(Clone, Copy, Debug)]
struct Answer {
    verdict: Verdict,
    ends: Instant,
}

impl<K: Clone + Eq + Hash> Answers<K> {
    /// Keeps at most so many answers.
    pub fn new(capacity: usize) -> Self {
        Self { by_question: HashMap::new(), allowed: VecDeque::new(), denied: VecDeque::new(), capacity }
    }

    /// The answer to a question, if it is still good at `now`.
    pub fn get(&self, question: &K, now: Instant) -> Option<Verdict> {
        self.by_question.get(question).filter(|answer| now < answer.ends).map(|answer| answer.verdict)
    }

    /// Keeps the answer to a question that was asked at `asked`: what the API server knew before counts from then. If
    /// there are too many answers, those that would end first are forgotten.
    pub fn insert(&mut self, question: K, verdict: Verdict, asked: Instant, now: Instant) {
        let (lifetime, queue) = match verdict {
            Verdict::Allowed => (ALLOWED_FOR, &mut self.allowed),
            Verdict::Denied => (DENIED_FOR, &mut self.denied),
        };
        let ends = asked + lifetime;
        queue.push_back((ends, question.clone()));
        self.by_question.insert(question, Answer { verdict, ends });
        while self.next_end().is_some_and(|end| end <= now || self.len() > self.capacity) {
            self.forget_next();
        }
    }

    /// How many answers are kept, including those that were replaced and those that have ended since the last insertion.
    pub fn len(&self) -> usize {
        self.allowed.len() + self.denied.len()
    }

    /// Whether there are none.
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn next_end(&self) -> Option<Instant> {
        let ends = [&self.allowed, &self.denied].map(|queue| queue.front().map(|(ends, _)| *ends));
        ends.into_iter().flatten().min()
    }

    fn forget_next(&mut self) {
        let end = self.next_end();
        let queues = [&mut self.denied, &mut self.allowed];
        let next = queues.into_iter().find(|queue| queue.front().map(|(ends, _)| *ends) == end);
        if let Some((ends, question)) = next.and_then(VecDeque::pop_front)
            && self.by_question.get(&question).is_some_and(|answer| answer.ends == ends)
        {
            self.by_question.remove(&question);
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn seconds(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn an_answer_is_good_for_a_while_after_its_question() {
        let asked = Instant::now();
        for (verdict, lifetime) in [(Verdict::Allowed, 10), (Verdict::Denied, 2)] {
            let mut answers = Answers::new(10);
            answers.insert("a", verdict, asked, asked + seconds(1));
            let almost = Duration::from_millis(lifetime * 1000 - 1);
            assert_eq!(answers.get(&"a", asked + almost), Some(verdict));
            assert_eq!(answers.get(&"a", asked + seconds(lifetime)), None);
            assert_eq!(answers.get(&"b", asked), None);
        }
    }

    #[test]
    fn a_flood_of_denials_leaves_what_is_allowed() {
        let now = Instant::now();
        let mut answers = Answers::new(100);
        for n in 0..50 {
            answers.insert(n, Verdict::Allowed, now, now);
        }
        for n in 50..10_000 {
            answers.insert(n, Verdict::Denied, now, now);
            assert!(answers.len() <= 100);
        }
        assert!((0..50).all(|n| answers.get(&n, now) == Some(Verdict::Allowed)));
        assert_eq!(answers.get(&9_999, now), Some(Verdict::Denied));
    }

    proptest! {
        /// Whatever is asked and answered in whatever order, an answer is the latest one to this question and not older than
        /// its lifetime, and none is missing while there is room.
        #[test]
        fn an_answer_is_the_latest_one(
            steps in vec((0_u8..5, any::<bool>(), 0_u64..4_000, 0_u64..3_000), 1..80),
            capacity in prop_oneof![1_usize..5, Just(1_000)],
        ) {
            let mut now = Instant::now();
            let (mut answers, mut latest) = (Answers::new(capacity), HashMap::new());
            for (question, is_allowed, pause, took) in steps {
                now += Duration::from_millis(pause);
                let verdict = if is_allowed { Verdict::Allowed } else { Verdict::Denied };
                let asked = now;
                now += Duration::from_millis(took);
                answers.insert(question, verdict, asked, now);
                latest.insert(question, (verdict, asked));
                prop_assert!(answers.len() <= capacity);
                prop_assert!(answers.by_question.len() <= answers.len());
                for (question, (verdict, asked)) in &latest {
                    let lifetime = if *verdict == Verdict::Allowed { ALLOWED_FOR } else { DENIED_FOR };
                    let expected = (now < *asked + lifetime).then_some(*verdict);
                    let actual = answers.get(question, now);
                    prop_assert!(actual == expected || (actual.is_none() && capacity < 1_000));
                }
            }
        }
    }
}
