//! Shows the progress of a long step on stderr, with an estimate: as one line that is rewritten on a terminal, or as
//! occasional lines in a log.

use std::io::{self, IsTerminal as _, Stderr, Write as _};
use std::time::{Duration, Instant};

/// How often a line is written to a log.
const LOG_INTERVAL: Duration = Duration::from_secs(10);

/// How often the line is rewritten on a terminal.
const TERMINAL_INTERVAL: Duration = Duration::from_millis(200);

/// A step of known length in progress.
#[derive(Debug)]
pub(crate) struct Progress {
    what: String,
    total: usize,
    done: usize,
    started: Instant,
    last_line: Instant,
    terminal: bool,
    stderr: Stderr,
}

impl Progress {
    /// Begins a step of `total` equal parts.
    pub(crate) fn new(what: impl Into<String>, total: usize) -> Self {
        let (stderr, now) = (io::stderr(), Instant::now());
        let terminal = stderr.is_terminal();
        let this = Self { what: what.into(), total, done: 0, started: now, last_line: now, terminal, stderr };
        if !terminal {
            this.write(&format!("{} …\n", this.what));
        }
        this
    }

    /// Completes one part.
    pub(crate) fn advance(&mut self) {
        self.done += 1;
        let interval = if self.terminal { TERMINAL_INTERVAL } else { LOG_INTERVAL };
        if self.last_line.elapsed() < interval {
            return;
        }
        self.last_line = Instant::now();
        let text = format!("{}: {}", self.what, describe(self.started.elapsed(), self.done, self.total));
        self.write(&if self.terminal { format!("\r\x1b[2K{text}") } else { format!("{text}\n") });
    }

    /// Completes the step.
    pub(crate) fn finish(self) {
        let clear = if self.terminal { "\r\x1b[2K" } else { "" };
        self.write(&format!("{clear}{}: done in {:.1} s\n", self.what, self.started.elapsed().as_secs_f64()));
    }

    /// A closed stderr must not abort a measurement, so failed writes are ignored.
    fn write(&self, text: &str) {
        let mut stderr = self.stderr.lock();
        let _ = write!(stderr, "{text}");
        let _ = stderr.flush();
    }
}

fn describe(elapsed: Duration, done: usize, total: usize) -> String {
    let left = u32::try_from(total.saturating_sub(done)).unwrap_or(u32::MAX);
    let part = elapsed / u32::try_from(done.max(1)).unwrap_or(u32::MAX);
    format!("{done} of {total}, about {} s left", part.saturating_mul(left).as_secs())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn estimates_from_the_rate_so_far() {
        let cases = [(30, 100, 400, "100 of 400, about 90 s left"), (9, 3, 3, "3 of 3, about 0 s left")];
        for (seconds, done, total, expected) in cases {
            assert_eq!(describe(Duration::from_secs(seconds), done, total), expected);
        }
    }
}
