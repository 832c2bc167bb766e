//! The log level, which a file can change while the server runs.
//!
//! The file is polled, like certificates. What cannot be used changes nothing, so that a slip does not silence the log.

use std::fs::File;
use std::io::{self, ErrorKind, Read as _};
use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::task::spawn_blocking;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;
use tracing::{error, info, warn};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::reload::Handle;

use crate::server::args::log::{LogLevel, SERVER};

/// The polling interval.
const INTERVAL: Duration = Duration::from_secs(1);
/// The longest file that is read, in bytes.
const LONGEST: u64 = 4096;

/// Follows the file with the log level.
#[derive(Debug)]
pub(in crate::server) struct LevelFile {
    path: PathBuf,
    /// The level without a file.
    configured: LogLevel,
    in_use: LogLevel,
    handle: Handle<Targets, Registry>,
    /// The problem with the file at the last poll, which was logged.
    refused: Option<String>,
}

/// Which lines are logged at this level. Libraries are logged from `warn` on; at `debug` and `trace`, at that level.
pub(super) fn filter(level: &LogLevel) -> Targets {
    let server = level.server;
    let libraries = if server >= LevelFilter::DEBUG { server } else { server.min(LevelFilter::WARN) };
    Targets::new()
        .with_default(libraries)
        .with_target(SERVER, server)
        // The callers report failed calls themselves, with the target and what happens next.
        .with_target("kube_client::client::builder", LevelFilter::OFF)
        .with_targets(level.modules.iter().cloned())
}

impl LevelFile {
    pub(super) fn new(path: PathBuf, configured: LogLevel, handle: Handle<Targets, Registry>) -> Self {
        Self { path, in_use: configured.clone(), configured, handle, refused: None }
    }

    /// Follows the file until `shutdown`.
    pub(in crate::server) async fn run(mut self, shutdown: CancellationToken) {
        let polling = async {
            let mut ticks = interval(INTERVAL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let path = self.path.clone();
                // On a thread that may hang with the file system.
                match spawn_blocking(move || read(&path)).await {
                    Ok(level) => self.update(level),
                    Err(error) => error!(%error, "the file of the log level was not read"),
                }
            }
        };
        shutdown.run_until_cancelled(polling).await;
    }

    /// Uses what the file says. `Ok(None)`: there is none, or it is empty.
    fn update(&mut self, read: Result<Option<LogLevel>, String>) {
        match read {
            Ok(level) => {
                self.refused = None;
                let level = level.unwrap_or_else(|| self.configured.clone());
                if level != self.in_use {
                    self.replace(level);
                }
            }
            Err(problem) => {
                if self.refused.as_ref() != Some(&problem) {
                    warn!(file = %self.path.display(), problem, "the log level cannot be changed; the previous one stays");
                }
                self.refused = Some(problem);
            }
        }
    }

    fn replace(&mut self, level: LogLevel) {
        // Said while lines of this level are logged, if they are before or after.
        let is_quieter = level.server < self.in_use.server;
        let (log_level, before) = (level.to_string(), self.in_use.to_string());
        if is_quieter {
            info!(log_level, before, "log level changed");
        }
        if let Err(error) = self.handle.reload(filter(&level)) {
            error!(%error, "the log level cannot be changed");
            return;
        }
        if !is_quieter {
            info!(log_level, before, "log level changed");
        }
        self.in_use = level;
    }
}

fn read(path: &Path) -> Result<Option<LogLevel>, String> {
    let read = || -> io::Result<String> {
        let mut text = String::new();
        File::open(path)?.take(LONGEST).read_to_string(&mut text)?;
        Ok(text)
    };
    match read() {
        Ok(text) if text.trim().is_empty() => Ok(None),
        Ok(text) => text.trim().parse().map(Some),
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
        Err(error) => Err(error.to_string()),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;
    use std::sync::{Arc, Mutex};

    use tempfile::TempDir;
    use tracing::debug;
    use tracing_subscriber::layer::SubscriberExt as _;
    use tracing_subscriber::{Layer as _, fmt, reload};

    use super::*;

    #[derive(Clone, Default)]
    struct Output(Arc<Mutex<Vec<u8>>>);

    impl Output {
        /// What was written since the last call.
        fn take(&self) -> String {
            String::from_utf8(std::mem::take(&mut *self.0.lock().unwrap())).unwrap()
        }
    }

    impl io::Write for Output {
        fn write(&mut self, text: &[u8]) -> io::Result<usize> {
            self.0.lock().unwrap().write(text)
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    #[test]
    fn a_file_changes_the_level_of_a_module_and_back() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("level");
        let configured: LogLevel = "info".parse().unwrap();
        let (layer, handle) = reload::Layer::new(filter(&configured));
        let (output, mut file) = (Output::default(), LevelFile::new(path.clone(), configured, handle));
        let writer = output.clone();
        let layer = fmt::layer()
            .with_writer(move || writer.clone())
            .without_time()
            .with_ansi(false)
            .with_filter(layer);
        tracing::subscriber::with_default(tracing_subscriber::registry().with(layer), || {
            let mut check = |content: Option<&str>, expected: &[&str]| {
                match content {
                    Some(content) => fs::write(&path, content).unwrap(),
                    None => fs::remove_file(&path).unwrap(),
                }
                file.update(read(&path));
                debug!("a detail");
                debug!(target: "h2", "a frame");
                let lines = output.take();
                assert_eq!(lines.lines().count(), expected.len(), "{content:?}: {lines}");
                for (line, expected) in lines.lines().zip(expected) {
                    assert!(line.contains(expected), "{content:?}: {line}");
                }
            };
            check(Some(""), &[]);
            check(Some("info,server::log=debug\n"), &["log level changed", "a detail"]);
            check(Some("info,server::log=debug\n"), &["a detail"]);
            check(Some("loud"), &["\"loud\\\" is no level", "a detail"]);
            check(Some("loud"), &["a detail"]);
            check(Some("warn,h2=debug"), &["log level changed", "a frame"]);
            check(None, &["log level changed"]);
        });
    }
}
