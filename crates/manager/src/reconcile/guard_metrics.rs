//! Metrics of the guard.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::gauge::Gauge;
use prometheus_client::registry::Registry;
use replica_count_core::guard::Mode;

use crate::kubernetes::guard::Lack;

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ModeLabel {
    mode: &'static str,
}

#[derive(Clone, Debug, Hash, PartialEq, Eq, EncodeLabelSet)]
struct ReasonLabel {
    reason: &'static str,
}

/// Metrics of the guard. Clones share them.
#[derive(Clone, Debug, Default)]
pub struct GuardMetrics {
    /// Guards that somebody else changed or deleted.
    pub drifts: Counter,
    /// Guards that were written.
    pub writes: Counter,
    /// Writes of guards that failed.
    pub failures: Counter,
    modes: Family<ModeLabel, Gauge>,
    problems: Family<ReasonLabel, Gauge>,
}

impl GuardMetrics {
    /// Registers the metrics.
    pub fn register(&self, registry: &mut Registry) {
        let registry = registry.sub_registry_with_prefix("guard");
        registry.register("drifts", "Guards that somebody else changed or deleted", self.drifts.clone());
        registry.register("writes", "Guards that were written", self.writes.clone());
        registry.register("write_failures", "Writes of guards that failed", self.failures.clone());
        registry.register(
            "mode",
            "1 for what the API server is to do with other counts; all 0 while that is not known",
            self.modes.clone(),
        );
        registry.register(
            "problem",
            "1 for what is missing for the guard to do what it should",
            self.problems.clone(),
        );
        self.show_lack(None);
        self.show(None);
    }

    /// Shows what the API server is to do.
    pub fn show_mode(&self, mode: Mode) {
        self.show(Some(mode));
    }

    fn show(&self, current: Option<Mode>) {
        for mode in Mode::ALL {
            let label = ModeLabel { mode: mode.as_str() };
            self.modes.get_or_create(&label).set(i64::from(current == Some(mode)));
        }
    }

    /// Shows what is missing.
    pub fn show_lack(&self, lack: Option<&Lack>) {
        for reason in Lack::REASONS {
            let is_it = lack.is_some_and(|lack| lack.as_str() == reason);
            self.problems.get_or_create(&ReasonLabel { reason }).set(i64::from(is_it));
        }
    }
}
