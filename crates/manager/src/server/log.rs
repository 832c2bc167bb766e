//! The log: lines on standard error, for people or for machines.

use tracing::level_filters::LevelFilter;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;
use tracing_subscriber::{Layer, fmt};

use crate::server::args::{LogArgs, LogFormat};

/// Starts the log. Libraries are logged from `warn` on; at `debug` and `trace`, at that level.
pub(super) fn start(args: &LogArgs) {
    let level = args.log_level;
    let libraries = if level >= LevelFilter::DEBUG { level } else { level.min(LevelFilter::WARN) };
    let targets = Targets::new()
        .with_default(libraries)
        .with_target("replica_count_manager", level)
        // The callers report failed calls themselves, with the target and what happens next.
        .with_target("kube_client::client::builder", LevelFilter::OFF);
    let lines = fmt::layer().with_writer(std::io::stderr).with_target(false);
    let lines = match args.log_format {
        LogFormat::Text => lines.with_ansi(std::io::IsTerminal::is_terminal(&std::io::stderr())).boxed(),
        LogFormat::Json => lines.json().flatten_event(true).boxed(),
    };
    tracing_subscriber::registry().with(lines.with_filter(targets)).init();
}
