//! Retries while servers are killed and restarted.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::{self, Instant};

const POLL: Duration = Duration::from_millis(50);

/// `Err` describes what is wrong.
pub(crate) type Verdict = Result<(), String>;

/// Retries until `attempt` succeeds. After the timeout, fails with the last error.
pub(crate) async fn retry<E: Display>(
    what: &str,
    timeout: Duration,
    mut attempt: impl AsyncFnMut() -> Result<(), E>,
) -> Verdict {
    let deadline = Instant::now() + timeout;
    let mut last = "no answer".to_owned();
    loop {
        match time::timeout_at(deadline, attempt()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(failure)) => last = failure.to_string(),
            Err(_) => {}
        }
        if Instant::now() >= deadline {
            return Err(format!("not within {timeout:?}: {what}: {last}"));
        }
        time::sleep(POLL).await;
    }
}
