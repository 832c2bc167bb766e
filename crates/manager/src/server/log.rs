//! The log: lines on standard error, for people or for machines.

mod lines;

use std::backtrace::{Backtrace, BacktraceStatus};
use std::io::{self, IsTerminal, Write, stderr};
use std::panic::{self, PanicHookInfo};
use std::sync::Arc;
use std::thread;
use std::time::Duration;

use tracing::level_filters::LevelFilter;
use tracing::warn;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

pub(super) use self::lines::Lines;
use crate::server::args::{LogArgs, LogFormat};

/// How long the end of the process may wait for the last lines to be written.
const FLUSH_LIMIT: Duration = Duration::from_secs(1);

/// The running log. Its last lines are written on drop.
#[derive(Debug)]
pub(super) struct Log(Arc<Lines>);

impl Log {
    /// Starts the log. Libraries are logged from `warn` on; at `debug` and `trace`, at that level.
    pub(super) fn start(args: &LogArgs) -> io::Result<Self> {
        let lines = Arc::<Lines>::default();
        lines.write_to(StandardError, |lines| {
            warn!(
                lines,
                "log lines were dropped: standard error was not read in time, or could not be written"
            );
        })?;
        let level = args.log_level;
        let libraries = if level >= LevelFilter::DEBUG { level } else { level.min(LevelFilter::WARN) };
        let targets = Targets::new()
            .with_default(libraries)
            .with_target("replica_count_manager", level)
            // The callers report failed calls themselves, with the target and what happens next.
            .with_target("kube_client::client::builder", LevelFilter::OFF);
        let layer = fmt::layer().with_writer(Arc::clone(&lines)).with_target(false);
        let layer = match args.log_format {
            LogFormat::Text => layer.with_ansi(stderr().is_terminal()).boxed(),
            LogFormat::Json => layer.json().flatten_event(true).boxed(),
        };
        tracing_subscriber::registry().with(layer.with_filter(targets)).init();
        let panics = Arc::clone(&lines);
        panic::set_hook(Box::new(move |panic| panics.add(describe(panic).as_bytes())));
        Ok(Self(lines))
    }

    /// The lines, for their metric.
    pub(super) fn lines(&self) -> Arc<Lines> {
        Arc::clone(&self.0)
    }

    /// Adds a line as it is, at any log level.
    pub(super) fn add_line(&self, line: &str) {
        self.0.add(format!("{line}\n").as_bytes());
    }
}

impl Drop for Log {
    fn drop(&mut self) {
        self.0.flush(FLUSH_LIMIT);
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
