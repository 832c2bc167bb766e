//! Checks whether the API server answers now, at most once a second for any number of clients.

use std::fmt::{self, Debug};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::{BoxFuture, Shared};
use kube::Client;
use tokio::time::{Instant, timeout};
use tracing::debug;

use super::cause::{Cause, chain};
use super::reads;

/// How long a result is reused.
const REUSE: Duration = Duration::from_secs(1);
/// An API server that takes longer counts as unreachable.
const PROBE_TIMEOUT: Duration = Duration::from_secs(3);

/// Sends a cheap request.
pub trait Ping: Send + Sync + 'static {
    /// Sends a cheap request to the API server. The error is one line.
    fn ping(&self) -> impl Future<Output = PingResult> + Send;
}

type PingResult = Result<(), String>;

impl Ping for Client {
    async fn ping(&self) -> PingResult {
        reads::version(self).await.map_err(|error| {
            debug!(reason = chain(&error), "Kubernetes cannot be reached");
            Cause::of(&error).to_string()
        })
    }
}

/// Pings the API server. Concurrent and frequent checks share the results, across all clones.
pub struct Probe<P> {
    ping: Arc<P>,
    latest: Arc<Mutex<Option<Attempt>>>,
}

/// A ping, with or without a result yet.
#[derive(Clone)]
struct Attempt {
    started: Instant,
    result: Shared<BoxFuture<'static, PingResult>>,
}

impl Attempt {
    /// A result is reused for a while, counted from the start of the attempt. An attempt without a result is shared
    /// until its timeout: if all its clients have left, nobody polls it any more.
    fn is_current(&self, now: Instant) -> bool {
        let age = now.duration_since(self.started);
        age < REUSE || (self.result.peek().is_none() && age < PROBE_TIMEOUT)
    }
}

impl<P: Ping> Probe<P> {
    /// Creates a probe without a result.
    pub fn new(ping: P) -> Self {
        Self { ping: Arc::new(ping), latest: Arc::default() }
    }

    /// Whether the API server answers; at most a second old. The error is one line.
    pub async fn check(&self) -> Result<(), String> {
        self.attempt(Instant::now()).result.await
    }

    fn attempt(&self, now: Instant) -> Attempt {
        // The value is replaced as a whole, so it is valid even if a holder of the lock panicked.
        let mut latest = self.latest.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(attempt) = latest.as_ref().filter(|attempt| attempt.is_current(now)) {
            return attempt.clone();
        }
        let attempt = Attempt { started: now, result: ping(Arc::clone(&self.ping)).boxed().shared() };
        latest.insert(attempt).clone()
    }
}

async fn ping(ping: Arc<impl Ping>) -> PingResult {
    timeout(PROBE_TIMEOUT, ping.ping()).await.unwrap_or_else(|_elapsed| {
        debug!(timeout = ?PROBE_TIMEOUT, "Kubernetes has not answered");
        Err(Cause::Timeout.to_string())
    })
}

impl<P> Clone for Probe<P> {
    fn clone(&self) -> Self {
        Self { ping: Arc::clone(&self.ping), latest: Arc::clone(&self.latest) }
    }
}

impl<P> Debug for Probe<P> {
    fn fmt(&self, formatter: &mut fmt::Formatter<'_>) -> fmt::Result {
        formatter.debug_struct("Probe").finish_non_exhaustive()
    }
}

#[cfg(test)]
mod tests {
    use std::pin::pin;
    use std::sync::atomic::{AtomicUsize, Ordering};

    use futures_util::future::join_all;
    use tokio::time::advance;

    use super::*;

    /// Returns the result set by the test, and counts the pings.
    #[derive(Clone)]
    struct Fake {
        pings: Arc<AtomicUsize>,
        /// `None`: pings never end.
        result: Arc<Mutex<Option<PingResult>>>,
    }

    impl Fake {
        fn new(result: Option<PingResult>) -> Self {
            Self { pings: Arc::default(), result: Arc::new(Mutex::new(result)) }
        }

        fn pings(&self) -> usize {
            self.pings.load(Ordering::SeqCst)
        }
    }

    impl Ping for Fake {
        async fn ping(&self) -> PingResult {
            self.pings.fetch_add(1, Ordering::SeqCst);
            let result = self.result.lock().unwrap().clone();
            match result {
                Some(result) => result,
                None => std::future::pending().await,
            }
        }
    }

    #[tokio::test(start_paused = true)]
    async fn a_result_is_shared_for_a_second() {
        let fake = Fake::new(Some(Ok(())));
        let probe = Probe::new(fake.clone());
        let results = join_all((0..100).map(|_| probe.check())).await;
        assert!(results.iter().all(Result::is_ok));
        assert_eq!(fake.pings(), 1);

        *fake.result.lock().unwrap() = Some(Err("unreachable".to_owned()));
        advance(Duration::from_millis(999)).await;
        assert_eq!((probe.check().await, fake.pings()), (Ok(()), 1));
        advance(Duration::from_millis(1)).await;
        assert_eq!((probe.check().await, fake.pings()), (Err("unreachable".to_owned()), 2));
    }

    #[tokio::test(start_paused = true)]
    async fn a_ping_without_an_answer_fails_after_three_seconds() {
        let fake = Fake::new(None);
        let probe = Probe::new(fake.clone());
        let before = Instant::now();
        let (first, late) = (pin!(probe.check()), async {
            tokio::time::sleep(Duration::from_secs(2)).await;
            probe.check().await
        });
        let (first, late) = tokio::join!(first, late);
        let expected = Err("timeout: the API server does not answer in time; see the log".to_owned());
        assert_eq!((&first, &late), (&expected, &expected));
        assert_eq!((before.elapsed(), fake.pings()), (Duration::from_secs(3), 1));
    }

    #[tokio::test(start_paused = true)]
    async fn an_abandoned_ping_is_repeated() {
        let fake = Fake::new(None);
        let probe = Probe::new(fake.clone());
        assert!(probe.check().now_or_never().is_none());
        advance(Duration::from_secs(3)).await;
        assert!(probe.check().now_or_never().is_none());
        assert_eq!(fake.pings(), 2);
    }
}
