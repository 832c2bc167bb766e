//! The log: lines on standard error, for people or for machines.

mod level;
mod lines;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal, Write, stderr};
use std::panic::{self, PanicHookInfo};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tracing::warn;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt, reload};

pub(super) use self::level::LevelFile;
use self::level::filter;
pub(super) use self::lines::Lines;
use crate::server::args::log::{LogArgs, LogFormat};

/// How long the end of the process may wait for the last lines to be written.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// What a server needs of the log.
pub(super) struct LogParts {
    /// The lines, for their metric.
    pub(super) lines: Arc<Lines>,
    /// What follows the file of the log level.
    pub(super) level: Option<LevelFile>,
}

/// The running log. Its last lines are written on drop.
#[derive(Debug)]
pub(super) struct Log {
    lines: Arc<Lines>,
    level: Option<LevelFile>,
}

impl Log {
    /// Starts the log.
    pub(super) fn start(args: &LogArgs) -> io::Result<Self> {
        let lines = Arc::<Lines>::default();
        lines.write_to(StandardError, |lines| {
            warn!(
                lines,
                "log lines were dropped: standard error was not read in time, or could not be written"
            );
        })?;
        let (filter, handle) = reload::Layer::new(filter(&args.log_level));
        let layer = fmt::layer().with_writer(Arc::clone(&lines)).with_target(false);
        let layer = match args.log_format {
            LogFormat::Text => layer.with_ansi(stderr().is_terminal()).boxed(),
            LogFormat::Json => layer.json().flatten_event(true).boxed(),
        };
        tracing_subscriber::registry().with(layer.with_filter(filter)).init();
        let panics = Arc::clone(&lines);
        panic::set_hook(Box::new(move |panic| panics.add(describe(panic).as_bytes())));
        let level = args.log_level_file.clone();
        let level = level.map(|path| LevelFile::new(path, args.log_level.clone(), handle));
        Ok(Self { lines, level })
    }

    /// What a server needs.
    pub(super) fn take_parts(&mut self) -> LogParts {
        LogParts { lines: Arc::clone(&self.lines), level: self.level.take() }
    }

    /// Adds a line as it is, at any log level.
    pub(super) fn add_line(&self, line: &str) {
        self.lines.add(format!("{line}\n").as_bytes());
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.lines.flush(FLUSH_LIMIT);
    }
}

/// What the hook of the standard library would write, which waits for standard error.
fn describe(panic: &PanicHookInfo<'_>) -> String {
    let thread = thread::current();
    let name = thread.name().unwrap_or("<unnamed>");
    let backtrace = Backtrace::capture();
    match backtrace.status() {
        BacktraceStatus::Captured => format!("thread '{name}' {panic}\n{backtrace}\n"),
        _ => format!("thread '{name}' {panic}\n"),
    }
}

/// Standard error without the lock of [`io::stderr`], which nobody must hold while the reader has stopped reading.
struct StandardError;

impl Write for StandardError {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        Ok(rustix::io::write(stderr(), text)?)
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}
