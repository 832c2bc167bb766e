//! The log level, which a file can change while the server runs.
//!
//! What cannot be used changes nothing, so that a slip does not silence the log.

use std::borrow::Cow;
use std::fs::File;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::io::{self, ErrorKind, Read as _};
use std::path::PathBuf;

use jiff::Timestamp;
use tokio_util::sync::CancellationToken;
use tracing::level_filters::LevelFilter;
use tracing::{error, info};
use tracing_subscriber::Registry;
use tracing_subscriber::filter::Targets;
use tracing_subscriber::reload::Handle;

use crate::polled::{Files, Found, Polled};
use crate::server::args::log::{LogLevel, SERVER};

/// The longest file that is read, in bytes.
const LONGEST: u64 = 4096;

/// Follows the file with the log level.
#[derive(Debug)]
pub(in crate::server) struct LevelFile {
    polled: Polled<Levels>,
    in_use: InUse,
}

/// Where the level is read.
#[derive(Debug)]
struct Levels {
    path: PathBuf,
    /// The level without a file.
    configured: LogLevel,
}

#[derive(Debug)]
struct InUse {
    level: LogLevel,
    handle: Handle<Targets, Registry>,
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

impl Files for Levels {
    type Contents = Result<String, String>;
    type Value = LogLevel;
    type Problem = String;

    fn name(&self) -> Cow<'static, str> {
        format!("the levels of {}", self.path.display()).into()
    }

    /// What the file says; nothing if there is none.
    fn read(&self) -> Self::Contents {
        let read = || -> io::Result<String> {
            let mut text = String::new();
            File::open(&self.path)?.take(LONGEST).read_to_string(&mut text)?;
            Ok(text.trim().to_owned())
        };
        match read() {
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(String::new()),
            read => read.map_err(|error| error.to_string()),
        }
    }

    fn digest(contents: &Self::Contents) -> u64 {
        let mut hasher = DefaultHasher::new();
        contents.hash(&mut hasher);
        hasher.finish()
    }

    fn parse(&self, contents: Self::Contents, _: Timestamp) -> Result<LogLevel, String> {
        let text = contents?;
        if text.is_empty() { Ok(self.configured.clone()) } else { text.parse() }
    }
}

impl LevelFile {
    pub(super) fn new(path: PathBuf, configured: LogLevel, handle: Handle<Targets, Registry>) -> Self {
        let in_use = InUse { level: configured.clone(), handle };
        Self { polled: Polled::new(Levels { path, configured }, None), in_use }
    }

    /// Follows the file until `shutdown`.
    pub(in crate::server) async fn run(self, shutdown: CancellationToken) {
        let Self { polled, mut in_use } = self;
        polled.run(shutdown, |found, _| in_use.take(found)).await;
    }
}

impl InUse {
    fn take(&mut self, found: Found<LogLevel>) {
        match found {
            Found::New(level) if level != self.level => self.replace(level),
            Found::New(_) | Found::Same | Found::Unfinished | Found::Refused { .. } => {}
        }
    }

    fn replace(&mut self, level: LogLevel) {
        // Said while lines of this level are logged, if they are before or after.
        let is_quieter = level.server < self.level.server;
        let (log_level, before) = (level.to_string(), self.level.to_string());
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
        self.level = level;
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
        let output = Output::default();
        let LevelFile { mut polled, mut in_use } = LevelFile::new(path.clone(), configured, handle);
        let levels = Levels { path: path.clone(), configured: "info".parse().unwrap() };
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
                for _ in 0..2 {
                    in_use.take(polled.judge(levels.read(), Timestamp::UNIX_EPOCH));
                }
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
            let refused =
                format!("the levels of {} have changed and cannot be used; the previous", path.display());
            check(Some("louder"), &[&refused, "a detail"]);
            check(Some("warn,h2=debug"), &["log level changed", "a frame"]);
            check(None, &["log level changed"]);
        });
    }

    #[test]
    fn a_file_that_is_not_valid_at_the_start_has_not_changed() {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("level");
        fs::write(&path, "loud").unwrap();
        let (configured, output): (LogLevel, _) = ("info".parse().unwrap(), Output::default());
        let (_layer, handle) = reload::Layer::new(filter(&configured));
        let LevelFile { mut polled, .. } = LevelFile::new(path.clone(), configured.clone(), handle);
        let writer = output.clone();
        let subscriber = fmt().with_writer(move || writer.clone()).without_time().with_ansi(false).finish();
        tracing::subscriber::with_default(subscriber, || {
            let contents = Levels { path: path.clone(), configured }.read();
            polled.judge(contents, Timestamp::UNIX_EPOCH);
        });
        let line = output.take();
        assert!(
            line.contains(&format!("the levels of {} cannot be used problem=", path.display())),
            "{line}"
        );
    }
}
