//! Whether the API server accepts the server's credentials, and how old they are.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use tokio::time::Instant;

/// For how long nothing may be refused until the server counts as authenticated again. If only one of several API servers
/// refuses the credentials, answers of both kinds alternate.
const SETTLED: Duration = Duration::from_secs(5);

/// Whether the API server accepts the server's credentials, and how old they are. Clones share it.
#[derive(Clone, Debug)]
pub struct Standing(Arc<Mutex<State>>);

#[derive(Debug)]
struct State {
    unauthenticated: Option<Unauthenticated>,
    /// When the credentials were last found to be current: read, or given by a plugin and not expired.
    current: Instant,
    renewals: u64,
}

/// The API server answers 401, or there are no credentials to send.
#[derive(Debug)]
struct Unauthenticated {
    since: Instant,
    /// When that was seen last.
    last: Instant,
}

impl Standing {
    /// Before the first request.
    pub(super) fn new() -> Self {
        Self(Arc::new(Mutex::new(State { unauthenticated: None, current: Instant::now(), renewals: 0 })))
    }

    /// How long the server has been unable to authenticate. `None`: nothing is known against it.
    pub fn unauthenticated(&self) -> Option<Duration> {
        self.state().unauthenticated.as_ref().map(Unauthenticated::duration)
    }

    /// Records that the server cannot authenticate. Returns whether that is new.
    pub(super) fn set_unauthenticated(&self) -> bool {
        let mut state = self.state();
        let now = Instant::now();
        let is_new = state.unauthenticated.is_none();
        state.unauthenticated.get_or_insert(Unauthenticated { since: now, last: now }).last = now;
        is_new
    }

    /// Records that the API server has accepted the credentials. Returns for how long it had not, once that has settled.
    pub(super) fn set_authenticated(&self) -> Option<Duration> {
        let mut state = self.state();
        let settled = state.unauthenticated.take_if(|known| known.last.elapsed() >= SETTLED)?;
        Some(settled.duration())
    }

    /// Records that the credentials are current.
    pub(super) fn set_current(&self) {
        self.state().current = Instant::now();
    }

    /// Counts new credentials.
    pub(super) fn count_renewal(&self) {
        self.state().renewals += 1;
    }

    fn state(&self) -> MutexGuard<'_, State> {
        // Its fields do not depend on each other.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Unauthenticated {
    fn duration(&self) -> Duration {
        self.since.elapsed()
    }
}

impl Collector for Standing {
    fn encode(&self, mut encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let (unauthenticated, age, renewals) = {
            let state = self.state();
            let unauthenticated = state.unauthenticated.as_ref().map(Unauthenticated::duration);
            (unauthenticated.unwrap_or_default(), state.current.elapsed(), state.renewals)
        };
        let mut show = |name: &str, help: &str, value: Duration| -> fmt::Result {
            let gauge = ConstGauge::new(value.as_secs_f64());
            gauge.encode(encoder.encode_descriptor(name, help, None, gauge.metric_type())?)
        };
        show(
            "kubernetes_unauthenticated_seconds",
            "How long the API server has not accepted the credentials; 0 while it does.",
            unauthenticated,
        )?;
        show(
            "kubernetes_credentials_age_seconds",
            "Time since the credentials were last found to be current; grows while they cannot be renewed.",
            age,
        )?;
        let (name, help) =
            ("kubernetes_credentials_renewals", "Changes of the credentials or of the connection.");
        let counter = ConstCounter::new(renewals);
        counter.encode(encoder.encode_descriptor(name, help, None, counter.metric_type())?)
    }
}

#[cfg(test)]
mod tests {
    use tokio::time::advance;

    use super::*;

    #[tokio::test(start_paused = true)]
    async fn answers_that_alternate_are_one_failure() {
        let standing = Standing::new();
        assert_eq!(standing.set_authenticated(), None);
        assert!(standing.set_unauthenticated());
        for _ in 0..30 {
            advance(Duration::from_secs(1)).await;
            assert_eq!(standing.set_authenticated(), None);
            assert!(!standing.set_unauthenticated());
        }
        advance(SETTLED.saturating_sub(Duration::from_millis(1))).await;
        assert_eq!(standing.set_authenticated(), None);
        assert!(standing.unauthenticated().is_some());
        advance(Duration::from_millis(1)).await;
        assert_eq!(standing.set_authenticated(), Some(Duration::from_secs(30) + SETTLED));
        assert_eq!(standing.unauthenticated(), None);
        assert!(standing.set_unauthenticated());
    }
}
