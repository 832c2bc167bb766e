//! Reloads receivers and routes without a restart: a valid set of files replaces the previous one.

use std::borrow::Cow;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::PathBuf;
use std::sync::Arc;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::info;

use super::config::{Config, ConfigError, Snapshot};
use super::metrics::NotifyMetrics;
use crate::polled::{Files, Found, Polled};

/// The file of `--notify-config`, with those that it names.
#[derive(Debug)]
struct NotifyFiles(PathBuf);

impl Files for NotifyFiles {
    type Contents = Result<Snapshot, ConfigError>;
    type Value = Config;
    type Problem = ConfigError;

    fn name(&self) -> Cow<'static, str> {
        "the files of --notify-config".into()
    }

    fn read(&self) -> Self::Contents {
        Snapshot::take(&self.0)
    }

    fn digest(contents: &Self::Contents) -> u64 {
        match contents {
            Ok(snapshot) => snapshot.digest(),
            Err(problem) => {
                let mut hasher = DefaultHasher::new();
                problem.to_string().hash(&mut hasher);
                hasher.finish()
            }
        }
    }

    fn parse(&self, contents: Self::Contents, _: Timestamp) -> Result<Config, ConfigError> {
        Config::of(&contents?)
    }
}

/// Polls the files.
#[derive(Debug)]
pub struct NotifyReload {
    polled: Polled<NotifyFiles>,
    current: watch::Sender<Arc<Config>>,
    metrics: NotifyMetrics,
}

impl NotifyReload {
    /// Starts with what was loaded from the files.
    pub fn new(path: PathBuf, config: Config, snapshot: &Snapshot, metrics: NotifyMetrics) -> Self {
        let polled = Polled::new(NotifyFiles(path), Some(snapshot.digest()));
        Self { polled, current: watch::Sender::new(Arc::new(config)), metrics }
    }

    /// What is in use, now and after each change.
    pub fn current(&self) -> watch::Receiver<Arc<Config>> {
        self.current.subscribe()
    }

    /// The metrics.
    pub fn metrics(&self) -> &NotifyMetrics {
        &self.metrics
    }

    /// Polls the files until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { polled, current, metrics } = self;
        polled.run(shutdown, |found, _| take(found, &current, &metrics)).await;
    }
}

fn take(found: Found<Config>, current: &watch::Sender<Arc<Config>>, metrics: &NotifyMetrics) {
    match found {
        Found::Unfinished => {}
        Found::Same => _ = metrics.refused.set(0),
        Found::New(config) => {
            let (receivers, routes) = (config.receivers.len(), config.routes.len());
            info!(receivers, routes, "the files of --notify-config were reloaded");
            current.send_replace(Arc::new(config));
            metrics.reloads.inc();
            metrics.refused.set(0);
        }
        Found::Refused { .. } => _ = metrics.refused.set(1),
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tempfile::TempDir;

    use super::*;

    const CONFIG: &str = "
receivers:
  - name: ops
    webhook: {urlFile: url}
routes:
  - {name: all, receiver: ops}
";

    #[test]
    fn a_change_of_any_of_the_files_is_followed() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = TempDir::new().unwrap();
        let (path, url) = (folder.path().join("notify.yaml"), folder.path().join("url"));
        fs::write(&path, CONFIG).unwrap();
        fs::write(&url, "https://one.example/x").unwrap();
        let (config, snapshot) = Config::load(&path).unwrap();
        let NotifyReload { mut polled, current, metrics } =
            NotifyReload::new(path.clone(), config, &snapshot, NotifyMetrics::default());
        let mut check = |host: &str, refused, reloads| {
            for _ in 0..2 {
                take(polled.judge(Snapshot::take(&path), Timestamp::UNIX_EPOCH), &current, &metrics);
            }
            assert_eq!(current.borrow().receivers["ops"].host(), host);
            assert_eq!((metrics.refused.get(), metrics.reloads.get()), (refused, reloads));
        };
        check("one.example", 0, 0);
        fs::write(&url, "https://two.example/x").unwrap();
        check("two.example", 0, 1);
        fs::write(&url, "no URL").unwrap();
        check("two.example", 1, 1);
        fs::remove_file(&url).unwrap();
        check("two.example", 1, 1);
        fs::write(&path, "receivers: [").unwrap();
        check("two.example", 1, 1);
        fs::write(&path, CONFIG).unwrap();
        fs::write(&url, "https://two.example/x").unwrap();
        check("two.example", 0, 1);
    }
}
