//! Tells people what happened to a target: the log and the metrics.

use std::time::Duration;

use replica_count_core::decide::Repair;
use replica_count_core::history::{Drift, Failure, Failures};
use replica_count_core::setting::Setting;
use replica_count_core::target::Target;
use tracing::{debug, info, warn};

use crate::kubernetes::scale::WriteError;
use crate::metrics::ReconcileMetrics;
use crate::reconcile::STALE_IN_A_ROW;

/// What the log says of a culprit that is not known.
const UNKNOWN: &str = "unknown";

/// How a drift ended that was not repaired, as far as is known.
#[derive(Clone, Copy, Debug)]
pub enum Settled {
    /// The cluster has the desired count again: somebody put it back, or a write of ours that was not answered.
    InSync,
    /// Another drift took its place.
    Replaced,
    /// A new setting was put into effect.
    Set,
}

impl Settled {
    fn as_str(self) -> &'static str {
        match self {
            Self::InSync => "in_sync",
            Self::Replaced => "drifted_again",
            Self::Set => "new_setting",
        }
    }
}

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

    /// A drift is over, and no answered write of ours put it back.
    pub fn settled(&self, target: &Target, drift: &Drift, how: Settled) {
        self.metrics.settled();
        let how = how.as_str();
        info!(%target, desired = %drift.from, found = %drift.to, by = by(Some(drift)), how, "settled");
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

    /// A write failed, and ends a row of failures. The first for a new reason is worth a warning, more of the same are
    /// not. That a decision was stale is nothing, unless it is so again and again.
    pub fn failed(
        &self,
        target: &Target,
        repair: &Repair,
        error: &WriteError,
        row: &Failures,
        delay: Duration,
    ) {
        let reason = error.reason();
        self.metrics.failed(reason);
        let by = by(repair.drift.as_ref());
        let failures = row.in_a_row;
        if row.alike == worth_a_warning(row.last) {
            warn!(%target, to = %repair.to, by, reason, %error, failures, ?delay, "write failed");
        } else {
            debug!(%target, to = %repair.to, by, reason, %error, failures, ?delay, "write failed");
        }
    }
}

/// At which failure for one and the same reason in a row people are warned.
fn worth_a_warning(failure: Failure) -> u32 {
    match failure {
        Failure::Stale => STALE_IN_A_ROW,
        Failure::Throttled
        | Failure::Forbidden
        | Failure::Refused
        | Failure::Failed
        | Failure::Unreachable
        | Failure::Deadline => 1,
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

#[cfg(test)]
mod tests {
    use replica_count_core::history::History;

    use super::*;

    #[test]
    fn warns_when_the_reason_changes_and_of_what_stays_stale() {
        use Failure::{Failed, Forbidden, Stale};
        let mut history = History::default();
        let failures = [
            (Stale, false),
            (Forbidden, true),
            (Forbidden, false),
            (Failed, true),
            (Stale, false),
            (Stale, false),
            (Stale, true),
            (Stale, false),
            (Forbidden, true),
        ];
        for (n, (failure, expected)) in failures.into_iter().enumerate() {
            let row = history.record_failure("u", failure);
            assert_eq!(row.alike == worth_a_warning(row.last), expected, "failure {n}");
        }
    }
}
