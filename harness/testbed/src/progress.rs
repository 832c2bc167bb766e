//! Shows the progress of a long step on stderr, with an estimate: as one line that is rewritten on a terminal, or as
//! occasional lines in a log.

use std::io::{self, IsTerminal as _, Stderr, Write as _};
use std::time::{Duration, Instant};

/// How often a line is written to a log.
const LOG_INTERVAL: Duration = Duration::from_secs(15);

/// How often the line is rewritten on a terminal.
const TERMINAL_INTERVAL: Duration = Duration::from_millis(200);

/// Below this percentage, a rate is too inaccurate.
const FIRST_ESTIMATE_PERCENT: usize = 5;

/// A step in progress.
#[derive(Debug)]
pub(crate) struct Progress {
    what: String,
    started: Instant,
    /// When the last line was written.
    last_line: Instant,
    terminal: bool,
    stderr: Stderr,
}

impl Progress {
    pub(crate) fn new(what: String) -> Self {
        let stderr = io::stderr();
        let terminal = stderr.is_terminal();
        let progress = Self { what, started: Instant::now(), last_line: Instant::now(), terminal, stderr };
        progress.line(&progress.what);
        progress
    }

    /// To be called at least about once a second. `done` is how many of how many packages are compiled.
    pub(crate) fn tick(&mut self, done: Option<(usize, usize)>) {
        let interval = if self.terminal { TERMINAL_INTERVAL } else { LOG_INTERVAL };
        if self.last_line.elapsed() < interval {
            return;
        }
        self.last_line = Instant::now();
        let text = describe(self.started.elapsed(), done);
        if self.terminal {
            self.rewrite(&text);
        } else {
            self.line(&format!("  {text}"));
        }
    }

    pub(crate) fn done(&self, text: &str) {
        if self.terminal {
            self.rewrite("");
        }
        self.line(text);
    }

    /// A closed stderr must not abort a build, so failed writes are ignored.
    fn line(&self, text: &str) {
        let _ = writeln!(self.stderr.lock(), "{text}");
    }

    fn rewrite(&self, text: &str) {
        let mut stderr = self.stderr.lock();
        let _ = write!(stderr, "\r\x1b[2K  {text}\r");
        let _ = stderr.flush();
    }
}

fn describe(elapsed: Duration, done: Option<(usize, usize)>) -> String {
    let elapsed_text = minutes(elapsed);
    match done {
        None => elapsed_text,
        Some((done, total)) if done * 100 < total * FIRST_ESTIMATE_PERCENT => {
            format!("{elapsed_text}, {done} of at most {total} packages; 1 to 10 minutes in all")
        }
        Some((done, total)) => {
            let left = total.saturating_sub(done);
            let seconds_left =
                elapsed.as_secs() * u64::try_from(left).unwrap_or(0) / u64::try_from(done).unwrap_or(1);
            let estimate = minutes(Duration::from_secs(seconds_left));
            format!("{elapsed_text}, {done} of at most {total} packages; about {estimate} left")
        }
    }
}

fn minutes(duration: Duration) -> String {
    let seconds = duration.as_secs();
    format!("{} min {:02} s", seconds / 60, seconds % 60)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_estimate_before_the_rate_is_known() {
        let elapsed = Duration::from_secs(75);
        assert_eq!(describe(elapsed, None), "1 min 15 s");
        assert_eq!(
            describe(elapsed, Some((49, 1000))),
            "1 min 15 s, 49 of at most 1000 packages; 1 to 10 minutes in all"
        );
        assert_eq!(
            describe(elapsed, Some((250, 1000))),
            "1 min 15 s, 250 of at most 1000 packages; about 3 min 45 s left"
        );
        assert_eq!(
            describe(elapsed, Some((1200, 1000))),
            "1 min 15 s, 1200 of at most 1000 packages; about 0 min 00 s left"
        );
    }
}
