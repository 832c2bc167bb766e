//! New certificates without a restart: the files are looked at every second, and a good set replaces the one
//! before.
//!
//! Looking misses nothing: neither renames and swapped symbolic links, as Kubernetes makes them, nor file systems that
//! announce no changes.

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

/// From look to look.
const INTERVAL: Duration = Duration::from_secs(1);

/// Follows the files.
#[derive(Debug)]
pub struct Reload {
    files: Arc<TlsFiles>,
    current: watch::Sender<Credentials>,
    /// What the files held at the last look. A change is taken for complete when two looks see the same: files are
    /// written one after the other.
    last_digest: u64,
    /// What was wrong with the files at the last look and has been told.
    refused: Option<String>,
    /// How many warnings of the end were given for the certificates in use.
    warned: [usize; 2],
    metrics: CertificateMetrics,
}

impl Reload {
    /// Begins with what was loaded of the files.
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

    /// What is in use, now and later.
    pub fn current(&self) -> watch::Receiver<Credentials> {
        self.current.subscribe()
    }

    /// Looks at the files until `shutdown`.
    pub async fn run(mut self, shutdown: CancellationToken) {
        let looking = async {
            let mut ticks = interval(INTERVAL);
            ticks.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                ticks.tick().await;
                self.look().await;
            }
        };
        shutdown.run_until_cancelled(looking).await;
    }

    async fn look(&mut self) {
        let files = Arc::clone(&self.files);
        // On a thread where it hurts nobody, if the file system hangs.
        match tokio::task::spawn_blocking(move || files.read()).await {
            Ok(contents) => self.follow(contents, clock::now().wall),
            Err(error) => error!(%error, "the certificate files were not read"),
        }
    }

    /// Takes over what the files hold, if that is new, complete and good.
    pub(super) fn follow(&mut self, contents: Contents, now: Timestamp) {
        let digest = contents.digest();
        let is_settled = mem::replace(&mut self.last_digest, digest) == digest;
        if digest == self.current.borrow().digest {
            self.accept();
        } else if is_settled {
            // What was refused is tried again, for its time may have come.
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
            warn!(problem, "the certificate files have changed and cannot be used; those before stay in use");
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
            let due = validity.notices(now);
            if due > mem::replace(warned, due) {
                let expires = validity.not_after;
                if validity.is_over(now) {
                    error!(certificate, %expires, "a certificate has expired");
                } else {
                    warn!(certificate, %expires, "a certificate expires soon");
                }
            }
        }
    }
}
