//! Files that are followed while the server runs: they are polled every second, and a valid change replaces what was read
//! before.
//!
//! Polling misses nothing: it works with renames, with swapped symbolic links as in Kubernetes, and on file systems
//! without change notifications.

use std::borrow::Cow;
use std::fmt::Display;
use std::mem;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{error, warn};

use crate::clock;

/// The polling interval.
const INTERVAL: Duration = Duration::from_secs(1);

/// How files are read.
pub(crate) trait Files: Send + Sync + 'static {
    /// What is in them, or why they cannot be read.
    type Contents: Send + 'static;
    /// What they say.
    type Value;
    /// Why that cannot be used. One line.
    type Problem: Display;
    /// Their name in the log, in the plural, perhaps with a path.
    fn name(&self) -> Cow<'static, str>;

    /// Reads them. May block, as file systems may.
    fn read(&self) -> Self::Contents;

    /// A hash that changes with the contents. It need not be cryptographic: a user who can write the files can do anything
    /// anyway.
    fn digest(contents: &Self::Contents) -> u64;

    /// Depends only on the contents and the time.
    fn parse(&self, contents: Self::Contents, now: Timestamp) -> Result<Self::Value, Self::Problem>;
}

/// What a poll found.
#[derive(Debug, PartialEq, Eq)]
pub(crate) enum Found<T> {
    /// A change that may not be complete yet.
    Unfinished,
    /// What is in use.
    Same,
    /// A change.
    New(T),
    /// A change that cannot be used. What was read before stays in use.
    Refused {
        /// Whether it was logged just now. The same problem is logged once.
        is_new: bool,
    },
}

/// Polls files.
#[derive(Debug)]
pub(crate) struct Polled<F> {
    files: Arc<F>,
    /// The digest of what is in use. `None`: nothing was read yet.
    in_use: Option<u64>,
    /// The digest at the last poll. A change counts as complete when two polls read the same contents, because files are
    /// written one after the other.
    last: Option<u64>,
    /// The problem at the last poll, which was logged.
    refused: Option<String>,
}

impl<F: Files> Polled<F> {
    /// `in_use` is the digest of what was read at the start. `None`: nothing was, and the first poll need not be confirmed
    /// by another one.
    pub(crate) fn new(files: F, in_use: Option<u64>) -> Self {
        Self { files: Arc::new(files), in_use, last: in_use, refused: None }
    }

    /// Polls until `shutdown`, and gives what it finds to `take`.
    pub(crate) async fn run(
        mut self,
        shutdown: CancellationToken,
        mut take: impl FnMut(Found<F::Value>, Timestamp),
    ) {
        let polling = async {
            let mut ticks = interval(INTERVAL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let files = Arc::clone(&self.files);
                // On a thread that may hang with the file system.
                match tokio::task::spawn_blocking(move || files.read()).await {
                    Ok(contents) => {
                        let now = clock::now().wall;
                        take(self.judge(contents, now), now);
                    }
                    Err(error) => error!(%error, "{} were not read", self.files.name()),
                }
            }
        };
        shutdown.run_until_cancelled(polling).await;
    }

    /// Whether these contents are new, complete and valid.
    pub(crate) fn judge(&mut self, contents: F::Contents, now: Timestamp) -> Found<F::Value> {
        let digest = Some(F::digest(&contents));
        let last = mem::replace(&mut self.last, digest);
        if digest == self.in_use {
            self.refused = None;
            return Found::Same;
        }
        if last.is_some() && last != digest {
            return Found::Unfinished;
        }
        // Refused contents are tried again, because what is valid may depend on the time.
        match self.files.parse(contents, now) {
            Ok(value) => {
                self.in_use = digest;
                self.refused = None;
                Found::New(value)
            }
            Err(problem) => self.refuse(problem.to_string()),
        }
    }

    fn refuse(&mut self, problem: String) -> Found<F::Value> {
        let is_new = self.refused.as_ref() != Some(&problem);
        if is_new {
            let name = self.files.name();
            if self.in_use.is_some() {
                warn!(problem, "{name} have changed and cannot be used; the previous ones stay in use");
            } else {
                // Nothing was read before.
                warn!(problem, "{name} cannot be used");
            }
            self.refused = Some(problem);
        }
        Found::Refused { is_new }
    }
}

#[cfg(test)]
mod tests {
    use std::sync::atomic::{AtomicI32, Ordering};

    use super::*;

    /// A number that must be positive, and below the seconds of the time.
    struct Number(AtomicI32);

    impl Files for Number {
        type Contents = i32;
        type Value = i32;
        type Problem = &'static str;

        fn name(&self) -> Cow<'static, str> {
            "the numbers".into()
        }

        fn read(&self) -> i32 {
            self.0.load(Ordering::SeqCst)
        }

        fn digest(contents: &i32) -> u64 {
            u64::from(contents.unsigned_abs())
        }

        fn parse(&self, contents: i32, now: Timestamp) -> Result<i32, &'static str> {
            match contents {
                ..=0 => Err("not positive"),
                _ if i64::from(contents) > now.as_second() => Err("too early"),
                _ => Ok(contents),
            }
        }
    }

    #[track_caller]
    fn check(in_use: Option<u64>, polls: &[(i32, i64, Found<i32>)]) {
        let mut polled = Polled::new(Number(0.into()), in_use);
        for (n, (contents, second, expected)) in polls.iter().enumerate() {
            let found = polled.judge(*contents, Timestamp::from_second(*second).expect("valid"));
            assert_eq!(found, *expected, "poll {n} of {polls:?}");
        }
    }

    const REFUSED: Found<i32> = Found::Refused { is_new: true };
    const STILL_REFUSED: Found<i32> = Found::Refused { is_new: false };

    #[test]
    fn a_change_is_taken_over_when_two_polls_read_it() {
        check(Some(1), &[(1, 9, Found::Same), (2, 9, Found::Unfinished), (2, 9, Found::New(2))]);
        check(Some(1), &[(2, 9, Found::Unfinished), (3, 9, Found::Unfinished), (3, 9, Found::New(3))]);
        check(Some(1), &[(2, 9, Found::Unfinished), (1, 9, Found::Same), (2, 9, Found::Unfinished)]);
        check(None, &[(2, 9, Found::New(2)), (2, 9, Found::Same), (3, 9, Found::Unfinished)]);
    }

    #[test]
    fn what_cannot_be_used_is_refused_once_and_tried_again() {
        check(Some(1), &[(-2, 9, Found::Unfinished), (-2, 9, REFUSED), (-2, 9, STILL_REFUSED)]);
        check(None, &[(-2, 9, REFUSED), (-2, 9, STILL_REFUSED), (3, 9, Found::Unfinished)]);
        check(Some(1), &[(5, 4, Found::Unfinished), (5, 4, REFUSED), (5, 5, Found::New(5))]);
        let again = [(1, 9, Found::Same), (-2, 9, Found::Unfinished), (-2, 9, REFUSED)];
        let first = [(-2, 9, Found::Unfinished), (-2, 9, REFUSED)];
        check(Some(1), &first.into_iter().chain(again).collect::<Vec<_>>());
    }

    #[tokio::test(start_paused = true)]
    async fn files_are_polled_each_second_until_the_end() {
        let (mut found, shutdown) = (Vec::new(), CancellationToken::new());
        let started = tokio::time::Instant::now();
        let polled = Polled::new(Number(7.into()), Some(1));
        let token = shutdown.clone();
        polled
            .run(shutdown, |poll, _| {
                found.push((started.elapsed().as_secs(), poll));
                if found.len() == 3 {
                    token.cancel();
                }
            })
            .await;
        assert_eq!(found, [(0, Found::Unfinished), (1, Found::New(7)), (2, Found::Same)]);
    }
}
