//! Waiting for what must come, while servers die and are started again.

use std::fmt::Display;
use std::time::Duration;

use tokio::time::{self, Instant};

const POLL: Duration = Duration::from_millis(50);

/// What is wrong, in words.
pub(crate) type Verdict = Result<(), String>;

/// Tries again and again until it succeeds; says what did not come when the patience is at its end.
pub(crate) async fn until<E: Display>(
    what: &str,
    patience: Duration,
    mut attempt: impl AsyncFnMut() -> Result<(), E>,
) -> Verdict {
    let deadline = Instant::now() + patience;
    let mut last = "no answer".to_owned();
    loop {
        match time::timeout_at(deadline, attempt()).await {
            Ok(Ok(())) => return Ok(()),
            Ok(Err(failure)) => last = failure.to_string(),
            Err(_) => {}
        }
        if Instant::now() >= deadline {
            return Err(format!("not within {patience:?}: {what}: {last}"));
        }
        time::sleep(POLL).await;
    }
}
