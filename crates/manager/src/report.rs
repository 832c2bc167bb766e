//! Tells people what happened to a target: the log and the metrics.

use std::time::Duration;

use replica_count_core::decide::Repair;
use replica_count_core::history::Drift;
use replica_count_core::setting::Setting;
use replica_count_core::target::Target;
use tracing::{debug, info, warn};

use crate::kubernetes::scale::WriteError;
use crate::metrics::ReconcileMetrics;

/// What the log says of a culprit that is not known.
const UNKNOWN: &str = "unknown";

/// Where reports go.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// What is counted.
    pub metrics: ReconcileMetrics,
}

impl Report {
    /// A drift was seen for the first time.
    pub fn drifted(&self, target: &Target, drift: &Drift, setting: &Setting) {
        self.metrics.drifted();
        let generation = setting.generation;
        info!(%target, desired = %drift.from, found = %drift.to, by = by(Some(drift)), via = via(drift), generation, "drifted");
    }

    /// The desired count was written.
    pub fn written(&self, target: &Target, repair: &Repair, took: Duration) {
        let took_ms = (took.as_secs_f64() * 1_000_000.0).round() / 1000.0;
        match &repair.drift {
            Some(drift) => {
                self.metrics.repaired(took);
                info!(%target, from = %repair.from, to = %repair.to, by = by(Some(drift)), took_ms, "repaired");
            }
            None => {
                self.metrics.applied(took);
                info!(%target, from = %repair.from, to = %repair.to, took_ms, "applied");
            }
        }
    }

    /// A write failed. The first failure in a row is worth a warning; more of the same are not.
    pub fn failed(
        &self,
        target: &Target,
        repair: &Repair,
        error: &WriteError,
        failures: u32,
        delay: Duration,
    ) {
        self.metrics.failed(error.reason());
        let reason = error.reason();
        let by = by(repair.drift.as_ref());
        match error {
            WriteError::Stale(_) => {
                debug!(%target, to = %repair.to, by, %error, failures, ?delay, "decided too early");
            }
            _ if failures == 1 => warn!(%target, to = %repair.to, by, reason, %error, ?delay, "write failed"),
            _ => debug!(%target, to = %repair.to, by, reason, %error, failures, ?delay, "write failed again"),
        }
    }
}

fn by(drift: Option<&Drift>) -> &str {
    drift.map(Drift::manager).filter(|manager| !manager.is_empty()).unwrap_or(UNKNOWN)
}

/// How the culprit wrote: `scale` or `apply` or `update`.
fn via(drift: &Drift) -> &str {
    match &drift.by {
        Some(owner) => owner.subresource.as_deref().unwrap_or(owner.operation.as_str()),
        None => UNKNOWN,
    }
}
