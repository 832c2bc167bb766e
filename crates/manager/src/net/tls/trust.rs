//! Whether a connected client is still trusted: its certificate may expire, or its CA may be removed.

use std::future::pending;
use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use rustls::pki_types::{CertificateDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use tokio::sync::watch;
use tokio::time::timeout;
use x509_parser::prelude::{FromDer, X509Certificate};

use super::credentials::Credentials;
use super::refusal::Refusal;
use crate::clock;

/// The longest time between two checks: the clock may be set, and intermediates may expire first.
const MAX_INTERVAL: Duration = Duration::from_mins(1);
/// The shortest time between two checks.
const MIN_INTERVAL: Duration = Duration::from_secs(1);

/// The certificates that a client has presented, its own first. There is at least one.
pub(super) struct Chain(Vec<CertificateDer<'static>>);

impl Chain {
    pub(super) fn new(certificates: &[CertificateDer<'_>]) -> Option<Self> {
        let certificates: Vec<_> =
            certificates.iter().map(|certificate| certificate.clone().into_owned()).collect();
        (!certificates.is_empty()).then_some(Self(certificates))
    }

    /// The client's own certificate.
    pub(super) fn leaf(&self) -> &CertificateDer<'static> {
        &self.0[0]
    }

    /// Waits until the client is no longer trusted, and returns why.
    ///
    /// The handshake has verified the client with the last seen value of `current`, so there is nothing to verify until
    /// that changes or the certificate expires.
    pub(super) async fn until_distrusted(self, mut current: watch::Receiver<Credentials>) -> Refusal {
        loop {
            let changed = async {
                if current.changed().await.is_err() {
                    pending::<()>().await;
                }
            };
            // Verify again, after a change or a timeout.
            let _ = timeout(self.next_check_in(clock::now().wall), changed).await;
            let clients = Arc::clone(&current.borrow_and_update().clients);
            if let Err(error) = self.verify(&*clients, clock::now().wall) {
                return Refusal::of_tls(&error);
            }
        }
    }

    fn verify(&self, clients: &dyn ClientCertVerifier, now: Timestamp) -> Result<(), rustls::Error> {
        let now = UnixTime::since_unix_epoch(Duration::from_secs(now.as_second().unsigned_abs()));
        clients.verify_client_cert(self.leaf(), &self.0[1..], now).map(drop)
    }

    fn next_check_in(&self, now: Timestamp) -> Duration {
        let left = X509Certificate::from_der(self.leaf())
            .map_or(0, |(_, leaf)| leaf.validity().not_after.timestamp() - now.as_second());
        // The last second is still valid.
        Duration::from_secs(u64::try_from(left + 1).unwrap_or(0)).clamp(MIN_INTERVAL, MAX_INTERVAL)
    }
}
