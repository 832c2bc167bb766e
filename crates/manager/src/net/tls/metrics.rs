//! Metrics of connections and certificates.

use jiff::Timestamp;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::refusal::Refusal;

/// Connections of the gRPC port. Clones share their counts.
#[derive(Clone, Debug, Default)]
pub struct ConnectionMetrics {
    open: Gauge,
    accepted: Counter,
    refused: Family<ReasonLabels, Counter>,
    ended: Family<ReasonLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ReasonLabels {
    reason: &'static str,
}

impl ConnectionMetrics {
    /// Registers the metrics as `connections_…`. Every reason is shown from the start, as 0.
    pub fn register(&self, registry: &mut Registry) {
        for refusal in Refusal::ALL {
            self.refused.get_or_create_owned(&ReasonLabels { reason: refusal.reason() });
        }
        for refusal in Refusal::OF_CERTIFICATES {
            self.ended.get_or_create_owned(&ReasonLabels { reason: refusal.reason() });
        }
        registry.register(
            "connections_open",
            "Connections of clients with a verified certificate",
            self.open.clone(),
        );
        registry.register(
            "connections",
            "Connections that clients with a verified certificate have made",
            self.accepted.clone(),
        );
        registry.register(
            "connections_refused",
            "Connections that were closed before or during the TLS handshake",
            self.refused.clone(),
        );
        registry.register(
            "connections_ended",
            "Open connections that were closed because the client is no longer trusted",
            self.ended.clone(),
        );
    }

    pub(super) fn refuse(&self, refusal: Refusal) {
        self.refused.get_or_create_owned(&ReasonLabels { reason: refusal.reason() }).inc();
    }

    pub(super) fn open(&self) -> OpenConnection {
        self.accepted.inc();
        self.open.inc();
        OpenConnection { open: self.open.clone(), ended: self.ended.clone() }
    }
}

/// Counts a connection as open until it is dropped.
#[derive(Debug)]
pub(super) struct OpenConnection {
    open: Gauge,
    ended: Family<ReasonLabels, Counter>,
}

impl OpenConnection {
    pub(super) fn end(&self, refusal: Refusal) {
        self.ended.get_or_create_owned(&ReasonLabels { reason: refusal.reason() }).inc();
    }
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.open.dec();
    }
}

/// The server's own certificates. Clones share their counts.
#[derive(Clone, Debug, Default)]
pub struct CertificateMetrics {
    expiration: Family<CertificateLabels, Gauge>,
    reloads: Counter,
    failures: Counter,
    refused: Gauge,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct CertificateLabels {
    certificate: &'static str,
}

impl CertificateMetrics {
    /// Registers the metrics as `certificate_…`.
    pub fn register(&self, registry: &mut Registry) {
        registry.register(
            "certificate_expiration_timestamp_seconds",
            "When the first certificate of the server's chain or of the CA file expires, as Unix time",
            self.expiration.clone(),
        );
        registry.register(
            "certificate_reloads",
            "Changed certificate files that were taken over",
            self.reloads.clone(),
        );
        registry.register(
            "certificate_reload_failures",
            "Changed certificate files that could not be used, once for each problem",
            self.failures.clone(),
        );
        registry.register(
            "certificate_files_refused",
            "1 while the certificate files cannot be used and those before are still in use: a restart would fail",
            self.refused.clone(),
        );
    }

    pub(super) fn show_expiration(&self, certificate: &'static str, at: Timestamp) {
        self.expiration.get_or_create_owned(&CertificateLabels { certificate }).set(at.as_second());
    }

    pub(super) fn reload(&self) {
        self.reloads.inc();
    }

    pub(super) fn fail(&self) {
        self.failures.inc();
    }

    pub(super) fn show_refused(&self, is_refused: bool) {
        self.refused.set(is_refused.into());
    }
}
