//! What the health paths ask, and how rarely: however many clients ask, Kubernetes is asked once a second at most.

use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use tokio::time::{Instant, timeout};

/// How long an answer is good.
const REUSE: Duration = Duration::from_secs(1);
/// An API server that takes longer is as good as lost.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// What the health paths ask the rest of the server.
pub trait Probe: Send + Sync + 'static {
    /// Asks Kubernetes something small. The error says in one line what is wrong.
    fn kubernetes(&self) -> impl Future<Output = Result<(), String>> + Send;

    /// Whether the caches are full and the store is open. The error has one line for each reason why not.
    fn ready(&self) -> Result<(), String>;
}

type Answer = Result<(), String>;

/// A probe whose answers are shared by those who ask at the same time.
pub(super) struct SharedProbe<P> {
    probe: Arc<P>,
    latest: Mutex<Option<Attempt>>,
}

/// A question to Kubernetes, answered or not yet.
#[derive(Clone)]
struct Attempt {
    started: Instant,
    answer: Shared<BoxFuture<'static, Answer>>,
}

impl Attempt {
    /// An answer is reused for a while, counted from the question. An attempt without an answer is joined; one whose
    /// clients all left was forgotten half-way, and its time is over.
    fn is_current(&self, now: Instant) -> bool {
        let age = now.duration_since(self.started);
        age < REUSE || (self.answer.peek().is_none() && age < PROBE_TIMEOUT)
    }
}

impl<P: Probe> SharedProbe<P> {
    pub(super) fn new(probe: P) -> Self {
        Self { probe: Arc::new(probe), latest: Mutex::new(None) }
    }

    pub(super) fn ready(&self) -> Answer {
        self.probe.ready()
    }

    pub(super) async fn kubernetes(&self) -> Answer {
        self.attempt(Instant::now()).answer.await
    }

    fn attempt(&self, now: Instant) -> Attempt {
        // The value is replaced as a whole, so it is sound even if a holder of the lock panicked.
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(attempt) = latest.as_ref().filter(|attempt| attempt.is_current(now)) {
            return attempt.clone();
        }
        let attempt = Attempt { started: now, answer: ask(Arc::clone(&self.probe)).boxed().shared() };
        latest.insert(attempt).clone()
    }
}

async fn ask(probe: Arc<impl Probe>) -> Answer {
    timeout(PROBE_TIMEOUT, probe.kubernetes())
        .await
        .unwrap_or_else(|_| Err(format!("Kubernetes has not answered within {PROBE_TIMEOUT:?}")))
}

impl<P> Debug for SharedProbe<P> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("SharedProbe").finish_non_exhaustive()
    }
}
