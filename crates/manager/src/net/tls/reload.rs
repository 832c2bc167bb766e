//! Reloads certificates without a restart: the files are polled every second, and a valid set replaces the previous
//! one.
//!
//! Polling misses nothing: it works with renames, with swapped symbolic links as in Kubernetes, and on file systems
//! without change notifications.

use std::mem;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval};
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::credentials::Credentials;
use super::expiry::Validity;
use super::files::{Contents, TlsFiles};
use super::metrics::CertificateMetrics;
use crate::clock;

/// The polling interval.
const INTERVAL: Duration = Duration::from_secs(1);

/// Polls the files.
#[derive(Debug)]
pub struct Reload {
    files: Arc<TlsFiles>,
    current: watch::Sender<Credentials>,
    /// The digest of the files at the last poll. A change counts as complete when two polls read the same contents,
    /// because files are written one after the other.
    last_digest: u64,
    /// The problem with the files at the last poll, which was logged.
    refused: Option<String>,
    /// How many expiry warnings were logged for the certificates in use.
    warned: [usize; 2],
    metrics: CertificateMetrics,
}

impl Reload {
    /// Starts with the credentials that were loaded from the files.
    pub fn new(files: TlsFiles, credentials: Credentials, metrics: CertificateMetrics) -> Self {
        let last_digest = credentials.digest;
        let this = Self {
            files: Arc::new(files),
            current: watch::Sender::new(credentials),
            last_digest,
            refused: None,
            warned: [0; 2],
            metrics,
        };
        this.show_expirations();
        this
    }

    /// The credentials in use, now and after each change.
    pub fn current(&self) -> watch::Receiver<Credentials> {
        self.current.subscribe()
    }

    /// Polls the files until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let polling = async {
            let mut ticks = interval(INTERVAL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                self.poll().await;
            }
        };
        shutdown.run_until_cancelled(polling).await;
    }

    async fn poll(&mut self) {
        let files = Arc::clone(&self.files);
        // On a thread that may hang with the file system.
        match tokio::task::spawn_blocking(move || files.read()).await {
            Ok(contents) => self.update(contents, clock::now().wall),
            Err(error) => error!(%error, "the certificate files were not read"),
        }
    }

    /// Replaces the credentials if the contents are new, complete and valid.
    pub(super) fn update(&mut self, contents: Contents, now: Timestamp) {
        let digest = contents.digest();
        let is_stable = mem::replace(&mut self.last_digest, digest) == digest;
        if digest == self.current.borrow().digest {
            self.accept();
        } else if is_stable {
            // Refused files are tried again, because their validity may have begun.
            match Credentials::new(&self.files, contents, now) {
                Ok(credentials) => self.replace(credentials),
                Err(problem) => self.refuse(problem.to_string()),
            }
        }
        self.warn_of_expiration(now);
    }

    fn replace(&mut self, credentials: Credentials) {
        let (server, ca) = (credentials.server_validity.not_after, credentials.ca_validity.not_after);
        info!(server_expires = %server, ca_expires = %ca, "certificates reloaded");
        self.current.send_replace(credentials);
        self.warned = [0; 2];
        self.metrics.reload();
        self.show_expirations();
        self.accept();
    }

    fn accept(&mut self) {
        self.refused = None;
        self.metrics.show_refused(false);
    }

    fn refuse(&mut self, problem: String) {
        if self.refused.as_ref() != Some(&problem) {
            warn!(
                problem,
                "the certificate files have changed and cannot be used; the previous ones stay in use"
            );
            self.metrics.fail();
            self.metrics.show_refused(true);
            self.refused = Some(problem);
        }
    }

    fn expirations(&self) -> [(&'static str, Validity); 2] {
        let current = self.current.borrow();
        [("server", current.server_validity), ("ca", current.ca_validity)]
    }

    fn show_expirations(&self) {
        for (certificate, validity) in self.expirations() {
            self.metrics.show_expiration(certificate, validity.not_after);
        }
    }

    fn warn_of_expiration(&mut self, now: Timestamp) {
        let expirations = self.expirations();
        for ((certificate, validity), warned) in expirations.into_iter().zip(&mut self.warned) {
            let due = validity.due_warnings(now);
            if due > mem::replace(warned, due) {
                let expires = validity.not_after;
                if validity.is_expired(now) {
                    error!(certificate, %expires, "a certificate has expired");
                } else {
                    warn!(certificate, %expires, "a certificate expires soon");
                }
            }
        }
    }
}
