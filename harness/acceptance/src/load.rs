//! Requests at a steady rate, and the longest time without an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{self, Instant, MissedTickBehavior};

use crate::eventually::eventually;

/// All callers together.
pub(crate) const REQUESTS_PER_SECOND: u32 = 50;

/// How many share the rate, so that one that waits for an answer does not stop the others.
pub(crate) const CALLERS: u32 = 5;

/// A caller gives up on a request, and on a connection.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(1);

/// Makes a request. `Ok(false)` is one without an answer; an error ends the load.
pub(crate) trait Caller: Send + 'static {
    fn call(&mut self) -> impl Future<Output = Result<bool>> + Send;
}

/// Callers at work.
#[derive(Debug)]
pub(crate) struct Load<C> {
    stop: watch::Sender<bool>,
    answers: Arc<AtomicUsize>,
    tasks: JoinSet<Result<(C, Vec<Instant>)>>,
}

impl<C: Caller> Load<C> {
    pub(crate) fn start(callers: impl IntoIterator<Item = C>) -> Self {
        let (stop, stopped) = watch::channel(false);
        let answers = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for caller in callers {
            tasks.spawn(work(caller, stopped.clone(), Arc::clone(&answers)));
        }
        Self { stop, answers, tasks }
    }

    /// Awaits so many more answers.
    pub(crate) async fn more(&self, answers: usize) -> Result<()> {
        let enough = self.answers.load(Ordering::Relaxed) + answers;
        eventually(&format!("{answers} more requests are answered"), async || {
            let answered = self.answers.load(Ordering::Relaxed);
            ensure!(answered >= enough, "{} are missing", enough - answered);
            Ok(())
        })
        .await
    }

    /// Ends it, and returns the callers and the times of all answers.
    pub(crate) async fn stop(mut self) -> Result<(Vec<C>, Vec<Instant>)> {
        self.stop.send(true).context("all callers have ended")?;
        let (mut callers, mut answers) = (Vec::new(), Vec::new());
        while let Some(ended) = self.tasks.join_next().await {
            let (caller, answered) = ended.context("a caller panicked")??;
            callers.push(caller);
            answers.extend(answered);
        }
        answers.sort();
        Ok((callers, answers))
    }
}

async fn work<C: Caller>(
    mut caller: C,
    mut stop: watch::Receiver<bool>,
    answers: Arc<AtomicUsize>,
) -> Result<(C, Vec<Instant>)> {
    let mut ticks = time::interval(Duration::from_secs(1) * CALLERS / REQUESTS_PER_SECOND);
    // Nobody makes up for requests that were not made while one was waited for.
    ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut answered = Vec::new();
    loop {
        tokio::select! {
            biased;
            _ = stop.changed() => return Ok((caller, answered)),
            _ = ticks.tick() => {}
        }
        if caller.call().await? {
            answered.push(Instant::now());
            answers.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// What the answers of a load show.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Seen {
    /// The longest time between two answers.
    pub(crate) gap: Duration,
    /// Answers a second at all other times.
    pub(crate) rate: f64,
}

/// Looks at the times of answers, which are in order.
pub(crate) fn look(answers: &[Instant]) -> Seen {
    let gap = answers.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
    let time = answers.first().zip(answers.last()).map_or(Duration::ZERO, |(first, last)| *last - *first);
    // The answers that end the gap and begin the time are no intervals of the rest.
    let intervals = u32::try_from(answers.len().saturating_sub(2)).unwrap_or(u32::MAX);
    Seen { gap, rate: f64::from(intervals) / time.saturating_sub(gap).as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_is_the_longest_time_between_two_answers() {
        let start = Instant::now();
        let at = |seconds: &[u64]| -> Vec<Instant> {
            seconds.iter().map(|second| start + Duration::from_secs(*second)).collect()
        };
        assert_eq!(look(&at(&[0, 1, 5, 6])), Seen { gap: Duration::from_secs(4), rate: 1.0 });
        assert_eq!(look(&at(&[0, 0, 1, 9, 9])), Seen { gap: Duration::from_secs(8), rate: 3.0 });
        assert_eq!(look(&at(&[3])).gap, Duration::ZERO);
    }
}
