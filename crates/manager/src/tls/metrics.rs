//! What is counted about connections.

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
    refused: Family<RefusedLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    reason: &'static str,
}

impl ConnectionMetrics {
    /// Makes the counts visible under `connections_…`; every reason is there from the start, at 0.
    pub fn register(&self, registry: &mut Registry) {
        for refusal in Refusal::ALL {
            self.refused.get_or_create_owned(&RefusedLabels { reason: refusal.reason() });
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
    }

    pub(super) fn refuse(&self, refusal: Refusal) {
        self.refused.get_or_create_owned(&RefusedLabels { reason: refusal.reason() }).inc();
    }

    pub(super) fn open(&self) -> OpenConnection {
        self.accepted.inc();
        self.open.inc();
        OpenConnection { open: self.open.clone() }
    }
}

/// Counts a connection as open until it is dropped.
#[derive(Debug)]
pub(super) struct OpenConnection {
    open: Gauge,
}

impl Drop for OpenConnection {
    fn drop(&mut self) {
        self.open.dec();
    }
}
