//! Sends requests at a steady rate, and measures the longest time without an answer.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{self, Instant, MissedTickBehavior};

use crate::eventually::eventually;

/// The usual rate of all callers together.
pub(crate) const REQUESTS_PER_SECOND: u32 = 50;

/// How many callers share the rate, so one that waits for an answer does not stop the load.
pub(crate) const CALLERS: u32 = 5;

/// The timeout of requests and connections.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(1);

/// Makes a request. `Ok(false)` means no answer; an error ends the load.
pub(crate) trait Caller: Send + 'static {
    fn call(&mut self) -> impl Future<Output = Result<bool>> + Send;
}

/// A running load.
#[derive(Debug)]
pub(crate) struct Load<C> {
    stop: watch::Sender<bool>,
    answers: Arc<AtomicUsize>,
    tasks: JoinSet<Result<(C, Vec<Instant>)>>,
}

impl<C: Caller> Load<C> {
    /// Starts [`CALLERS`] callers, which make `rate` requests a second together.
    pub(crate) fn start(callers: impl IntoIterator<Item = C>, rate: u32) -> Self {
        let (stop, stopped) = watch::channel(false);
        let answers = Arc::new(AtomicUsize::new(0));
        let mut tasks = JoinSet::new();
        for caller in callers {
            tasks.spawn(run_caller(caller, rate, stopped.clone(), Arc::clone(&answers)));
        }
        Self { stop, answers, tasks }
    }

    /// Waits for this many more answers.
    pub(crate) async fn wait_for_answers(&self, answers: usize) -> Result<()> {
        let enough = self.answers.load(Ordering::Relaxed) + answers;
        eventually(&format!("{answers} more answers"), async || {
            let answered = self.answers.load(Ordering::Relaxed);
            ensure!(answered >= enough, "{} are missing", enough - answered);
            Ok(())
        })
        .await
    }

    /// Stops the load, and returns the callers and the times of all answers.
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

async fn run_caller<C: Caller>(
    mut caller: C,
    rate: u32,
    mut stop: watch::Receiver<bool>,
    answers: Arc<AtomicUsize>,
) -> Result<(C, Vec<Instant>)> {
    let mut ticks = time::interval(Duration::from_secs(1) * CALLERS / rate);
    // After a slow request, callers do not catch up.
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

/// The result of a load.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct Measurement {
    /// The longest time between two answers.
    pub(crate) gap: Duration,
    /// Answers per second outside of that gap.
    pub(crate) rate: f64,
}

/// Evaluates the sorted times of answers.
pub(crate) fn summarize(answers: &[Instant]) -> Measurement {
    let gap = answers.windows(2).map(|pair| pair[1] - pair[0]).max().unwrap_or_default();
    let time = answers.first().zip(answers.last()).map_or(Duration::ZERO, |(first, last)| *last - *first);
    // N answers have N - 1 intervals, and one of them is the gap.
    let intervals = u32::try_from(answers.len().saturating_sub(2)).unwrap_or(u32::MAX);
    Measurement { gap, rate: f64::from(intervals) / time.saturating_sub(gap).as_secs_f64() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_gap_is_the_longest_interval() {
        let start = Instant::now();
        let at = |seconds: &[u64]| -> Vec<Instant> {
            seconds.iter().map(|second| start + Duration::from_secs(*second)).collect()
        };
        assert_eq!(summarize(&at(&[0, 1, 5, 6])), Measurement { gap: Duration::from_secs(4), rate: 1.0 });
        assert_eq!(summarize(&at(&[0, 0, 1, 9, 9])), Measurement { gap: Duration::from_secs(8), rate: 3.0 });
        assert_eq!(summarize(&at(&[3])).gap, Duration::ZERO);
    }
}
