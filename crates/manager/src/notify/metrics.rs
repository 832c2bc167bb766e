//! Metrics of notifications.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;

use super::receiver::Service;

/// Metrics of notifications. Clones share their values.
#[derive(Clone, Debug, Default)]
pub struct NotifyMetrics {
    sent: Family<ServiceLabels, Counter>,
    retries: Family<ServiceLabels, Counter>,
    failed: Family<ServiceLabels, Counter>,
    dropped: Family<ServiceLabels, Counter>,
    /// Messages that wait to be sent.
    pub(super) waiting: Gauge,
    /// Events that were in no message, because there were too many at once.
    pub(super) missed: Counter,
    /// Whether the files are refused.
    pub(super) refused: Gauge,
    pub(super) reloads: Counter,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct ServiceLabels {
    service: &'static str,
}

impl NotifyMetrics {
    /// Registers the metrics. Every service is shown from the start, as 0.
    pub fn register(&self, registry: &mut Registry) {
        let counters = [
            ("notifications_sent", "Messages that a receiver has accepted", &self.sent),
            (
                "notification_retries",
                "Attempts to send a message that failed and are repeated",
                &self.retries,
            ),
            ("notifications_failed", "Messages that were given up", &self.failed),
            (
                "notifications_dropped",
                "Messages that were not tried, because too many waited or their receiver was removed",
                &self.dropped,
            ),
        ];
        for (name, help, family) in counters {
            for service in Service::ALL {
                family.get_or_create_owned(&ServiceLabels { service: service.as_str() });
            }
            registry.register(name, help, family.clone());
        }
        registry.register("notifications_waiting", "Messages that wait to be sent", self.waiting.clone());
        registry.register(
            "notification_events_missed",
            "Events that are in no message, because there were too many at once",
            self.missed.clone(),
        );
        registry.register(
            "notify_config_refused",
            "1 while the files of --notify-config cannot be used and the previous ones stay in use",
            self.refused.clone(),
        );
        registry.register(
            "notify_config_reloads",
            "Changed files of --notify-config that were taken over",
            self.reloads.clone(),
        );
    }

    pub(super) fn sent(&self, service: Service) {
        count(&self.sent, service);
    }

    pub(super) fn retry(&self, service: Service) {
        count(&self.retries, service);
    }

    pub(super) fn failed(&self, service: Service) {
        count(&self.failed, service);
    }

    pub(super) fn dropped(&self, service: Service) {
        count(&self.dropped, service);
    }
}

fn count(family: &Family<ServiceLabels, Counter>, service: Service) {
    family.get_or_create_owned(&ServiceLabels { service: service.as_str() }).inc();
}

#[cfg(test)]
impl NotifyMetrics {
    /// Messages that were sent, failed and were dropped, of all services.
    pub(super) fn totals(&self) -> [u64; 3] {
        [&self.sent, &self.failed, &self.dropped].map(|family| {
            let of = |service: Service| {
                family.get_or_create_owned(&ServiceLabels { service: service.as_str() }).get()
            };
            Service::ALL.into_iter().map(of).sum()
        })
    }
}
