//! How questions are asked: once, a bounded number at a time, and again when an answer has ended.

use std::sync::Arc;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join_all;
use replica_count_core::authorization::{Access, Question, Verdict};
use tokio::time::{Instant, sleep};

use super::metrics::AuthorizationMetrics;
use super::reviews::Reviews;
use crate::kubernetes::access_review::{Review, ReviewError, Subject};
use crate::net::tls::identity::Identity;

/// An API server that takes a second for each answer.
#[derive(Debug, Default)]
struct Slow {
    asked: AtomicUsize,
    in_flight: AtomicUsize,
    most_in_flight: AtomicUsize,
    subjects: Mutex<Vec<Subject>>,
    answer: Mutex<Option<Result<Verdict, ReviewError>>>,
}

impl Review for Arc<Slow> {
    async fn review(&self, subject: &Subject, _: &Question) -> Result<Verdict, ReviewError> {
        self.asked.fetch_add(1, Ordering::Relaxed);
        self.subjects.lock().unwrap().push(subject.clone());
        let in_flight = self.in_flight.fetch_add(1, Ordering::Relaxed) + 1;
        self.most_in_flight.fetch_max(in_flight, Ordering::Relaxed);
        let _in_flight = InFlight(&self.in_flight);
        sleep(Duration::from_secs(1)).await;
        self.answer.lock().unwrap().clone().unwrap_or(Ok(Verdict::Allowed))
    }
}

/// Counts a question until it is answered or dropped.
struct InFlight<'a>(&'a AtomicUsize);

impl Drop for InFlight<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An API server that answers at once.
struct Quick;

impl Review for Quick {
    async fn review(&self, _: &Subject, _: &Question) -> Result<Verdict, ReviewError> {
        Ok(Verdict::Allowed)
    }
}

impl Slow {
    fn asked(&self) -> usize {
        self.asked.load(Ordering::Relaxed)
    }

    fn answer(&self, answer: Result<Verdict, ReviewError>) {
        *self.answer.lock().unwrap() = Some(answer);
    }
}

fn reviews() -> (Arc<Slow>, Reviews<Arc<Slow>>) {
    let slow = Arc::default();
    (Arc::clone(&slow), Reviews::new(slow, AuthorizationMetrics::new()))
}

fn identity(user: &str, fingerprint: u8) -> Arc<Identity> {
    Arc::new(Identity { user: user.into(), groups: vec!["ops".into()], fingerprint: [fingerprint; 32] })
}

fn of(namespace: &str) -> Question {
    Access::List(Some(namespace)).question()
}

#[tokio::test(start_paused = true)]
async fn the_same_question_is_asked_once() {
    let (slow, reviews) = reviews();
    let (alice, again, bob) = (identity("alice", 1), identity("alice", 1), identity("bob", 2));
    let (a, b) = (of("a"), of("b"));
    let questions = [(&alice, &a), (&again, &a), (&alice, &b), (&bob, &a), (&bob, &a)];
    let started = Instant::now();
    let answers = join_all(questions.map(|(identity, question)| reviews.ask(identity, question))).await;
    assert!(answers.iter().all(|answer| *answer == Ok(Verdict::Allowed)), "{answers:?}");
    assert_eq!((slow.asked(), started.elapsed()), (3, Duration::from_secs(1)));
}

#[tokio::test(start_paused = true)]
async fn the_first_to_ask_may_leave() {
    let (slow, reviews) = reviews();
    let (alice, question) = (identity("alice", 1), of("a"));
    let mut first = Box::pin(reviews.ask(&alice, &question));
    assert!(first.as_mut().now_or_never().is_none());
    let mut second = Box::pin(reviews.ask(&alice, &question));
    assert!(second.as_mut().now_or_never().is_none());
    drop(first);
    assert_eq!(second.await, Ok(Verdict::Allowed));
    assert_eq!(slow.asked(), 1);
}

#[tokio::test(start_paused = true)]
async fn a_question_that_all_have_left_is_asked_again() {
    let (slow, reviews) = reviews();
    let (alice, question) = (identity("alice", 1), of("a"));
    assert!(reviews.ask(&alice, &question).now_or_never().is_none());
    assert_eq!(reviews.ask(&alice, &question).await, Ok(Verdict::Allowed));
    assert_eq!(slow.asked(), 2);
}

#[tokio::test(start_paused = true)]
async fn an_answer_counts_from_its_question_until_it_ends() {
    for (verdict, lifetime) in [(Verdict::Allowed, 10), (Verdict::Denied, 2)] {
        let (slow, reviews) = reviews();
        let (alice, question) = (identity("alice", 1), of("a"));
        slow.answer(Ok(verdict));
        let started = Instant::now();
        assert_eq!(reviews.ask(&alice, &question).await, Ok(verdict));
        slow.answer(Err(ReviewError::Deadline));
        tokio::time::sleep_until(started + Duration::from_secs(lifetime) - Duration::from_millis(1)).await;
        assert_eq!(reviews.ask(&alice, &question).await, Ok(verdict), "it is kept during an outage");
        assert_eq!(slow.asked(), 1);
        tokio::time::sleep_until(started + Duration::from_secs(lifetime)).await;
        assert_eq!(reviews.ask(&alice, &question).await, Err(ReviewError::Deadline));
        assert_eq!(reviews.ask(&alice, &question).await, Err(ReviewError::Deadline), "it is not kept");
        assert_eq!(slow.asked(), 3);
    }
}

#[tokio::test(start_paused = true)]
async fn a_flood_is_bounded_and_leaves_room_for_others() {
    let (slow, reviews) = reviews();
    let (alice, bob) = (identity("alice", 1), identity("bob", 2));
    let questions: Vec<_> = (0..100).map(|n| of(&n.to_string())).collect();
    let mut flood = Box::pin(join_all(questions.iter().map(|question| reviews.ask(&alice, question))));
    assert!(flood.as_mut().now_or_never().is_none());
    let started = Instant::now();
    assert_eq!(reviews.ask(&bob, &of("a")).await, Ok(Verdict::Allowed));
    assert_eq!(started.elapsed(), Duration::from_secs(1));
    let answers = flood.await;
    let allowed = answers.iter().filter(|answer| **answer == Ok(Verdict::Allowed)).count();
    assert_eq!(slow.most_in_flight.load(Ordering::Relaxed), 9);
    assert!((32..=40).contains(&allowed), "{allowed}: eight in each of five seconds");
    assert!(answers.iter().all(|answer| matches!(answer, Ok(Verdict::Allowed) | Err(ReviewError::Deadline))));
}

#[tokio::test]
async fn ten_thousand_answers_are_kept() {
    let metrics = AuthorizationMetrics::new();
    let reviews = Reviews::new(Quick, metrics.clone());
    let alice = identity("alice", 1);
    let mut most = 0;
    for n in 0..20_000 {
        reviews.ask(&alice, &of(&n.to_string())).await.unwrap();
        most = most.max(metrics.cached_answers.get());
    }
    assert_eq!(most, 10_000);
    let hits = metrics.cache_hits.get();
    for n in 10_000..20_000 {
        reviews.ask(&alice, &of(&n.to_string())).await.unwrap();
    }
    assert_eq!(metrics.cache_hits.get() - hits, 10_000);
}

#[tokio::test(start_paused = true)]
async fn a_user_has_the_groups_and_the_credential_that_kubernetes_would_give() {
    let (slow, reviews) = reviews();
    reviews.ask(&identity("alice", 0xab), &of("a")).await.unwrap();
    let subject = slow.subjects.lock().unwrap()[0].clone();
    assert_eq!(
        (&*subject.user, subject.groups),
        ("alice", vec!["ops".into(), "system:authenticated".into()])
    );
    let credential = &subject.extra["authentication.kubernetes.io/credential-id"];
    assert_eq!(*credential, [format!("X509SHA256={}", "ab".repeat(32))]);

    let mut named = Identity::clone(&identity("alice", 1));
    named.groups = vec!["system:authenticated".into()];
    reviews.ask(&Arc::new(named), &of("a")).await.unwrap();
    assert_eq!(slow.subjects.lock().unwrap()[1].groups, ["system:authenticated"]);
}
