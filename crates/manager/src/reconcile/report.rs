//! Tells people what happened to a target: the log and the metrics.

use std::time::Duration;

use replica_count_core::damping::Damping;
use replica_count_core::decide::Repair;
use replica_count_core::failures::{Failure, Failures, STALE_IN_A_ROW};
use replica_count_core::history::Drift;
use replica_count_core::setting::Setting;
use replica_count_core::target::Target;
use tokio::time::Instant;
use tracing::{debug, info, warn};

use crate::kubernetes::scale::WriteError;
use crate::reconcile::metrics::ReconcileMetrics;

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

/// How loudly a drift is told: of a fight, people are told once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Loudness {
    /// To everyone.
    Normal,
    /// To those who look closely.
    Low,
}

impl Loudness {
    /// How loudly a drift of a target is told whose repairs are damped so.
    pub fn of(damping: &Damping) -> Self {
        match damping {
            Damping::Calm { .. } => Self::Normal,
            Damping::Contested(_) => Self::Low,
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
    pub fn drifted(&self, target: &Target, drift: &Drift, setting: &Setting, loudness: Loudness) {
        self.metrics.drifted();
        let (Drift { from, to, .. }, generation) = (drift, setting.generation);
        let (by, via) = (by(Some(drift)), via(drift));
        match loudness {
            Loudness::Normal => {
                info!(%target, desired = %from, found = %to, by, via, generation, "drifted");
            }
            Loudness::Low => debug!(%target, desired = %from, found = %to, by, via, generation, "drifted"),
        }
    }

    /// A drift is over, and no answered write of ours put it back.
    pub fn settled(&self, target: &Target, drift: &Drift, how: Settled, loudness: Loudness) {
        self.metrics.settled();
        let (Drift { from, to, .. }, by, how) = (drift, by(Some(drift)), how.as_str());
        match loudness {
            Loudness::Normal => info!(%target, desired = %from, found = %to, by, how, "settled"),
            Loudness::Low => debug!(%target, desired = %from, found = %to, by, how, "settled"),
        }
    }

    /// Somebody keeps drifting it; from now on repairs wait, the next one until `next_repair`.
    pub fn contested(&self, target: &Target, drift: Option<&Drift>, next_repair: Instant) {
        let wait = next_repair.saturating_duration_since(Instant::now());
        warn!(%target, by = by(drift), via = drift.map_or(UNKNOWN, via), ?wait, "contested");
    }

    /// Nobody drifts it any more.
    pub fn calmed(&self, target: &Target) {
        info!(%target, "no longer contested");
    }

    /// An autoscaler targets it from now on, or does not any more.
    pub fn autoscaled(&self, target: &Target, autoscaler: Option<&str>) {
        match autoscaler {
            Some(autoscaler) => {
                warn!(%target, autoscaler, "autoscaled: the desired count is enforced all the same");
            }
            None => info!(%target, "no longer autoscaled"),
        }
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
    use std::time::Instant;

    use replica_count_core::backoff::Moment;

    use super::*;

    #[test]
    fn warns_when_the_reason_changes_and_of_what_stays_stale() {
        use Failure::{Failed, Forbidden, Stale};
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
        let (mut row, moment) = (None, Moment { at: Instant::now(), jitter: 1.0 });
        for (n, (failure, expected)) in failures.into_iter().enumerate() {
            let after = Failures::after(row, &"u".into(), failure, Duration::ZERO, moment);
            assert_eq!(after.alike == worth_a_warning(after.last), expected, "failure {n}");
            row = Some(after);
        }
    }
}
