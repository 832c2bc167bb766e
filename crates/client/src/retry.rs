//! Retries until an attempt succeeds or the time is over.

use std::time::Duration;

use tokio::time::{self, Instant};

/// The pause between two attempts.
const INTERVAL: Duration = Duration::from_millis(500);

/// Retries until an attempt succeeds, and returns the outcome of the last one. No attempt begins after `patience`; if
/// that is zero, there is one attempt.
pub async fn until<T, E>(patience: Duration, mut attempt: impl AsyncFnMut() -> Result<T, E>) -> Result<T, E> {
    let deadline = Instant::now() + patience;
    loop {
        match attempt().await {
            Err(_) if Instant::now() + INTERVAL <= deadline => time::sleep(INTERVAL).await,
            outcome => return outcome,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Makes attempts, of which the one with number `succeeds` succeeds. Returns the number of the last one and the
    /// elapsed time.
    async fn run(patience_ms: u64, succeeds: u32) -> (Result<u32, u32>, u128) {
        let started = Instant::now();
        let mut count = 0;
        let outcome = until(Duration::from_millis(patience_ms), async || {
            count += 1;
            if count == succeeds { Ok(count) } else { Err(count) }
        });
        (outcome.await, started.elapsed().as_millis())
    }

    #[tokio::test(start_paused = true)]
    async fn no_attempt_begins_after_patience_ends() {
        assert_eq!(run(0, 2).await, (Err(1), 0));
        assert_eq!(run(499, 2).await, (Err(1), 0));
        assert_eq!(run(500, 2).await, (Ok(2), 500));
        assert_eq!(run(1_200, 9).await, (Err(3), 1_000));
        assert_eq!(run(60_000, 9).await, (Ok(9), 4_000));
    }
}
