//! Reloads receivers and routes without a restart, as certificates are: the files are polled every second, and a valid
//! set replaces the previous one.

use std::mem;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::config::{Config, ConfigError, Snapshot};
use super::metrics::NotifyMetrics;

/// The polling interval.
const INTERVAL: Duration = Duration::from_secs(1);

/// Polls the files.
#[derive(Debug)]
pub struct NotifyReload {
    path: PathBuf,
    current: watch::Sender<Arc<Config>>,
    /// What is in use.
    digest: u64,
    /// What the last poll read. A change counts as complete when two polls read the same.
    last_digest: u64,
    /// The problem with the files, which was logged.
    refused: Option<String>,
    metrics: NotifyMetrics,
}

impl NotifyReload {
    /// Starts with what was loaded from the files.
    pub fn new(path: PathBuf, config: Config, snapshot: &Snapshot, metrics: NotifyMetrics) -> Self {
        let digest = snapshot.digest();
        let current = watch::Sender::new(Arc::new(config));
        Self { path, current, digest, last_digest: digest, refused: None, metrics }
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
    pub async fn run(mut self, shutdown: CancellationToken) {
        let polling = async {
            let mut ticks = interval(INTERVAL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                let path = self.path.clone();
                // On a thread that may hang with the file system.
                match tokio::task::spawn_blocking(move || Snapshot::take(&path)).await {
                    Ok(read) => self.update(read),
                    Err(error) => error!(%error, "the files of --notify-config were not read"),
                }
            }
        };
        shutdown.run_until_cancelled(polling).await;
    }

    /// Replaces what is in use if what was read is new, complete and valid.
    fn update(&mut self, read: Result<Snapshot, ConfigError>) {
        let snapshot = match read {
            Ok(snapshot) => snapshot,
            // It may be in the middle of being written.
            Err(_) if mem::replace(&mut self.last_digest, 0) != 0 => return,
            Err(problem) => return self.refuse(&problem),
        };
        let digest = snapshot.digest();
        let is_stable = mem::replace(&mut self.last_digest, digest) == digest;
        if digest == self.digest {
            self.accept();
        } else if is_stable {
            match Config::of(&snapshot) {
                Ok(config) => {
                    let (receivers, routes) = (config.receivers.len(), config.routes.len());
                    info!(receivers, routes, "the files of --notify-config were reloaded");
                    self.digest = digest;
                    self.current.send_replace(Arc::new(config));
                    self.metrics.reloads.inc();
                    self.accept();
                }
                Err(problem) => self.refuse(&problem),
            }
        }
    }

    fn accept(&mut self) {
        self.refused = None;
        self.metrics.refused.set(0);
    }

    fn refuse(&mut self, problem: &ConfigError) {
        let problem = problem.to_string();
        self.metrics.refused.set(1);
        if self.refused.as_ref() != Some(&problem) {
            warn!(
                problem,
                "the files of --notify-config have changed and cannot be used; the previous ones stay in use"
            );
            self.refused = Some(problem);
        }
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
    fn a_valid_change_is_taken_over_and_another_one_is_not() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let folder = TempDir::new().unwrap();
        let (path, url) = (folder.path().join("notify.yaml"), folder.path().join("url"));
        fs::write(&path, CONFIG).unwrap();
        fs::write(&url, "https://one.example/x").unwrap();
        let (config, snapshot) = Config::load(&path).unwrap();
        let metrics = NotifyMetrics::default();
        let mut reload = NotifyReload::new(path.clone(), config, &snapshot, metrics.clone());
        let current = reload.current();
        let mut poll = |times: u32| {
            for _ in 0..times {
                reload.update(Snapshot::take(&path));
            }
            let host = current.borrow().receivers["ops"].host().to_owned();
            (host, metrics.refused.get(), metrics.reloads.get())
        };
        let seen = |host: &str, refused, reloads| (host.to_owned(), refused, reloads);
        assert_eq!(poll(3), seen("one.example", 0, 0));
        fs::write(&url, "https://two.example/x").unwrap();
        assert_eq!(poll(1), seen("one.example", 0, 0), "not yet stable");
        assert_eq!(poll(1), seen("two.example", 0, 1));
        fs::write(&url, "no URL").unwrap();
        assert_eq!(poll(2), seen("two.example", 1, 1));
        fs::remove_file(&url).unwrap();
        assert_eq!(poll(2), seen("two.example", 1, 1));
        fs::write(&path, "receivers: [").unwrap();
        assert_eq!(poll(2), seen("two.example", 1, 1));
        fs::write(&path, CONFIG).unwrap();
        fs::write(&url, "https://two.example/x").unwrap();
        assert_eq!(poll(1), seen("two.example", 0, 1));
    }
}
