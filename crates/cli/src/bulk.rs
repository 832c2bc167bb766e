//! Many changes at once: bounded, with progress, and complete about what failed.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};

use futures_util::{StreamExt as _, stream};
use tokio::signal;

use crate::failure::Failure;
use crate::output::print;

/// Calls in flight at once. A server gives one user room for more.
const AT_ONCE: usize = 32;

/// What became of one change.
pub(crate) type Outcome = Result<String, (String, Failure)>;

/// How changes are reported.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Report {
    /// No line for each change that succeeds.
    pub(crate) quiet: bool,
    /// What is counted at the end, in the passive: `set`, `deleted`.
    pub(crate) done: &'static str,
    /// Reasons of the server for which a change is left out instead of failing: nobody has named its workload.
    pub(crate) leave_out: &'static [&'static str],
}

/// Progress on a terminal.
struct Progress {
    all: usize,
    shown: bool,
}

impl Progress {
    fn new(all: usize, quiet: bool) -> Self {
        Self { all, shown: all > AT_ONCE && !quiet && io::stderr().is_terminal() }
    }

    fn show(&self, done: usize) {
        if self.shown {
            print::overwrite(&format!("{done} of {}", self.all));
        }
    }

    fn clear(&self) {
        if self.shown {
            print::overwrite("");
        }
    }
}

/// Makes all changes, at most some at once, and reports each of them in order. An interruption (Ctrl-C) starts no more,
/// waits for those in flight, and says what was done.
pub(crate) async fn run<T, F: Future<Output = Outcome>>(
    changes: Vec<T>,
    report: Report,
    change: impl FnMut(T) -> F,
) -> Result<(), Failure> {
    let all = changes.len();
    let progress = Progress::new(all, report.quiet);
    let (mut lines, mut failures, mut done) = (String::new(), Vec::new(), 0);
    let mut left_out = BTreeMap::new();
    let interrupted = Box::pin(signal::ctrl_c());
    let mut outcomes = stream::iter(changes).take_until(interrupted).map(change).buffered(AT_ONCE);
    while let Some(outcome) = outcomes.next().await {
        match outcome {
            Ok(line) => {
                done += 1;
                if !report.quiet {
                    lines.push_str(&line);
                    lines.push('\n');
                }
            }
            Err((_, failure)) if report.leave_out.contains(&failure.reason()) => {
                *left_out.entry(failure.message().to_owned()).or_default() += 1;
            }
            Err(failure) => failures.push(failure),
        }
        let ended = done + failures.len() + left_out.values().sum::<usize>();
        progress.show(ended);
        // One change is reported at once; many in blocks, so that a terminal does not slow them down.
        if lines.len() > 4_096 || ended == all {
            progress.clear();
            print::out(&std::mem::take(&mut lines))?;
        }
    }
    progress.clear();
    print::out(&lines)?;
    for (reason, count) in &left_out {
        print::note(&format!("left out: {count}, because {reason}"));
    }
    conclude(all - left_out.values().sum::<usize>(), done, failures, report)
}

fn conclude(
    all: usize,
    done: usize,
    mut failures: Vec<(String, Failure)>,
    report: Report,
) -> Result<(), Failure> {
    if all == 1
        && let Some((_, only)) = failures.pop()
    {
        return Err(only);
    }
    for (name, failure) in &failures {
        print::note(&format!("{name}: {}", failure.message()));
    }
    let untouched = all - done - failures.len();
    let summary = format!("{done} {}, {} failed", report.done, failures.len());
    match (failures.first(), untouched) {
        (None, 0) => Ok(()),
        (_, 1..) => Err(Failure::new(format!("interrupted: {summary}, {untouched} not begun"))),
        (Some((_, first)), _) => {
            let failure = Failure::new(summary);
            // The advice of the first one is usually that of all.
            Err(match first.advice() {
                Some(advice) => failure.advise(advice),
                None => failure,
            })
        }
    }
}

/// Makes all calls, at most some at once, and returns their outcomes in order.
pub(crate) async fn gather<T, R, F: Future<Output = R>>(items: Vec<T>, call: impl FnMut(T) -> F) -> Vec<R> {
    stream::iter(items).map(call).buffered(AT_ONCE).collect().await
}
