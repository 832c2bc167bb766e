//! Polls conditions.

use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::time::{self, Instant};

/// How long a pod may take to start, including image and volume, on a busy machine.
pub(crate) const DEADLINE: Duration = Duration::from_mins(2);

const POLL: Duration = Duration::from_millis(50);

/// Polls until `condition` succeeds, and returns its value. After the deadline, fails with the last error.
pub(crate) async fn eventually<T>(what: &str, mut condition: impl AsyncFnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + DEADLINE;
    loop {
        match condition().await {
            Ok(value) => return Ok(value),
            Err(last) if Instant::now() >= deadline => {
                return Err(last).with_context(|| format!("not within {} s: {what}", DEADLINE.as_secs()));
            }
            Err(_) => time::sleep(POLL).await,
        }
    }
}
