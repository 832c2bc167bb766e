//! Answers questions from the cache, or asks Kubernetes: once for all who ask the same at the same time.

use std::collections::HashMap;
use std::fmt::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared, WeakShared};
use replica_count_core::authorization::answers::Answers;
use replica_count_core::authorization::{AUTHENTICATED, Question, Verdict};
use tokio::time::{Instant, timeout};
use tracing::{info, warn};

use super::metrics::{ALLOWED, AuthorizationMetrics, DENIED, FAILED};
use super::turns::Turns;
use crate::kubernetes::access_review::{Review, ReviewError, Subject};
use crate::net::tls::identity::Identity;

/// The most answers that are kept, each of some 500 bytes.
const MAX_ANSWERS: usize = 10_000;
/// How long a question may take, with the wait for its turn.
const PATIENCE: Duration = Duration::from_secs(5);
/// The key by which Kubernetes names the credential of a user, in rules and in its audit log.
const CREDENTIAL: &str = "authentication.kubernetes.io/credential-id";

/// Who asks what. The fingerprint of a certificate stands for all that it says of its user.
type Key = ([u8; 32], Question);
type Outcome = Result<Verdict, ReviewError>;
type Asked = Shared<BoxFuture<'static, Outcome>>;

/// Answers questions, from the cache if they were asked shortly before.
pub(super) struct Reviews<R>(Arc<Inner<R>>);

struct Inner<R> {
    kubernetes: R,
    known: Mutex<Known>,
    turns: Turns,
    metrics: AuthorizationMetrics,
    /// Whether the last question had no answer, which was logged.
    is_failing: AtomicBool,
}

#[derive(Debug)]
struct Known {
    answers: Answers<Key>,
    /// What is being asked, with a number that tells it from later questions of the same key.
    in_flight: HashMap<Key, (u64, WeakShared<BoxFuture<'static, Outcome>>)>,
    asked: u64,
}

impl<R: Review> Reviews<R> {
    pub(super) fn new(kubernetes: R, metrics: AuthorizationMetrics) -> Self {
        let known = Known { answers: Answers::new(MAX_ANSWERS), in_flight: HashMap::new(), asked: 0 };
        Self(Arc::new(Inner {
            kubernetes,
            known: Mutex::new(known),
            turns: Turns::default(),
            metrics,
            is_failing: AtomicBool::new(false),
        }))
    }

    /// Whether the rules allow this to a client. What was answered shortly before counts, even if Kubernetes cannot be
    /// asked now; without an answer, nothing is allowed.
    pub(super) async fn ask(&self, identity: &Arc<Identity>, question: &Question) -> Outcome {
        let metrics = &self.0.metrics;
        let outcome = match self.find_or_ask((identity.fingerprint, question.clone()), identity) {
            Ok(verdict) => {
                metrics.cache_hits.inc();
                Ok(verdict)
            }
            Err(asked) => asked.await,
        };
        metrics.answer(match outcome {
            Ok(Verdict::Allowed) => ALLOWED,
            Ok(Verdict::Denied) => DENIED,
            Err(_) => FAILED,
        });
        outcome
    }

    fn find_or_ask(&self, key: Key, identity: &Arc<Identity>) -> Result<Verdict, Asked> {
        let mut known = self.0.known();
        if let Some(verdict) = known.answers.get(&key, Instant::now().into_std()) {
            return Ok(verdict);
        }
        if let Some(asked) = known.in_flight.get(&key).and_then(|(_, asked)| asked.upgrade()) {
            return Err(asked);
        }
        known.asked += 1;
        let question = InFlight { inner: Arc::clone(&self.0), key: key.clone(), number: known.asked };
        let asked = question.ask(Arc::clone(identity)).boxed().shared();
        let weak = asked.downgrade().expect("it has just been created");
        let number = known.asked;
        known.in_flight.insert(key, (number, weak));
        Err(asked)
    }
}

impl<R> Inner<R> {
    fn known(&self) -> MutexGuard<'_, Known> {
        // The cache is valid between any two of its changes.
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// A question in flight. Whoever waits for the answer drives it; if nobody does, it is dropped.
struct InFlight<R> {
    inner: Arc<Inner<R>>,
    key: Key,
    number: u64,
}

impl<R: Review> InFlight<R> {
    async fn ask(self, identity: Arc<Identity>) -> Outcome {
        let Inner { kubernetes, turns, metrics, .. } = &*self.inner;
        let (started, subject) = (Instant::now(), subject(&identity));
        let answer = timeout(PATIENCE, async {
            let _turn = turns.turn(&identity.user).await;
            // From now on: what the API server knew before may be old.
            (Instant::now(), kubernetes.review(&subject, &self.key.1).await)
        });
        let (asked, outcome) = answer.await.unwrap_or((started, Err(ReviewError::Deadline)));
        metrics.review_seconds.observe(started.elapsed().as_secs_f64());
        self.inner.log(&outcome);
        if let Ok(verdict) = outcome {
            let now = Instant::now().into_std();
            let answers = &mut self.inner.known().answers;
            answers.insert(self.key.clone(), verdict, asked.into_std(), now);
            metrics.cached_answers.set(i64::try_from(answers.len()).unwrap_or(i64::MAX));
        }
        outcome
    }
}

impl<R> Inner<R> {
    /// Logs when questions begin and cease to fail, not each of them.
    fn log(&self, outcome: &Outcome) {
        let was_failing = self.is_failing.swap(outcome.is_err(), Ordering::Relaxed);
        match outcome {
            Err(error) if !was_failing => {
                warn!(%error, "Kubernetes cannot be asked what users may do: their requests are refused until it can");
            }
            Ok(_) if was_failing => info!("Kubernetes can be asked again what users may do"),
            Ok(_) | Err(_) => {}
        }
    }
}

impl<R> Drop for InFlight<R> {
    fn drop(&mut self) {
        let in_flight = &mut self.inner.known().in_flight;
        if in_flight.get(&self.key).is_some_and(|(number, _)| *number == self.number) {
            in_flight.remove(&self.key);
        }
    }
}

/// A client as a user of Kubernetes, who would have the same from the API server with the same certificate.
fn subject(identity: &Identity) -> Subject {
    let mut groups = identity.groups.clone();
    if !groups.iter().any(|group| group == AUTHENTICATED) {
        groups.push(AUTHENTICATED.to_owned());
    }
    let mut credential = "X509SHA256=".to_owned();
    for byte in identity.fingerprint {
        write!(credential, "{byte:02x}").expect("a string takes everything");
    }
    let extra = [(CREDENTIAL, vec![credential])].into();
    Subject { user: identity.user.to_string(), groups, extra }
}
