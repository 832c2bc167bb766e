//! Reloads certificates without a restart: a valid set of files replaces the previous one.

use std::borrow::Cow;
use std::mem;

use jiff::Timestamp;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tracing::{error, info, warn};

use super::credentials::Credentials;
use super::expiry::Validity;
use super::files::{Contents, TlsError, TlsFiles};
use super::metrics::CertificateMetrics;
use crate::polled::{Files, Found, Polled};

/// The files of certificates, which are one set.
#[derive(Debug)]
struct CertificateFiles(TlsFiles);

impl Files for CertificateFiles {
    type Contents = Contents;
    type Value = Credentials;
    type Problem = TlsError;

    fn name(&self) -> Cow<'static, str> {
        "the certificate files".into()
    }

    fn read(&self) -> Contents {
        self.0.read()
    }

    fn digest(contents: &Contents) -> u64 {
        contents.digest()
    }

    fn parse(&self, contents: Contents, now: Timestamp) -> Result<Credentials, TlsError> {
        Credentials::new(&self.0, contents, now)
    }
}

/// Polls the files.
#[derive(Debug)]
pub struct Reload {
    polled: Polled<CertificateFiles>,
    in_use: InUse,
}

/// The certificates in use.
#[derive(Debug)]
struct InUse {
    current: watch::Sender<Credentials>,
    /// How many expiry warnings were logged for them.
    warned: [usize; 2],
    metrics: CertificateMetrics,
}

impl Reload {
    /// Starts with the credentials that were loaded from the files.
    pub fn new(files: TlsFiles, credentials: Credentials, metrics: CertificateMetrics) -> Self {
        let polled = Polled::new(CertificateFiles(files), Some(credentials.digest));
        let in_use = InUse { current: watch::Sender::new(credentials), warned: [0; 2], metrics };
        in_use.show_expirations();
        Self { polled, in_use }
    }

    /// The credentials in use, now and after each change.
    pub fn current(&self) -> watch::Receiver<Credentials> {
        self.in_use.current.subscribe()
    }

    /// Polls the files until `shutdown`.
    pub async fn run(self, shutdown: CancellationToken) {
        let Self { polled, mut in_use } = self;
        polled.run(shutdown, |found, now| in_use.take(found, now)).await;
    }

    /// Takes what a poll has read.
    #[cfg(test)]
    pub(super) fn update(&mut self, contents: Contents, now: Timestamp) {
        let found = self.polled.judge(contents, now);
        self.in_use.take(found, now);
    }
}

impl InUse {
    fn take(&mut self, found: Found<Credentials>, now: Timestamp) {
        match found {
            Found::Unfinished => {}
            Found::Same => self.metrics.show_refused(false),
            Found::New(credentials) => self.replace(credentials),
            Found::Refused { is_new } => {
                if is_new {
                    self.metrics.fail();
                }
                self.metrics.show_refused(true);
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
        self.metrics.show_refused(false);
        self.show_expirations();
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
