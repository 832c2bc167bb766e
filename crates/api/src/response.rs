//! Converts types of the domain to protobuf.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use replica_count_core::clock::Now;
use replica_count_core::drift::Drift;
use replica_count_core::entry_target::EntryTarget;
use replica_count_core::failures::FailureDetails;
use replica_count_core::kind::Kind;
use replica_count_core::record::Record;
use replica_count_core::setting::Enforcement;
use replica_count_core::state::State;
use replica_count_core::steady::SteadyConflict;

use crate::proto;

impl From<Kind> for proto::Kind {
    fn from(kind: Kind) -> Self {
        match kind {
            Kind::Deployment => Self::Deployment,
            Kind::StatefulSet => Self::StatefulSet,
        }
    }
}

impl From<State> for proto::DeploymentState {
    fn from(state: State) -> Self {
        match state {
            State::Unknown => Self::Unknown,
            State::Unmanaged => Self::Unmanaged,
            State::InSync => Self::InSync,
            State::Drifted => Self::Drifted,
            State::Contested => Self::Contested,
            State::Autoscaled => Self::Autoscaled,
            State::Ignored => Self::Ignored,
            State::Missing => Self::Missing,
            State::OutOfScope => Self::OutOfScope,
            State::Unsupported => Self::Unsupported,
        }
    }
}

impl From<&Drift> for proto::Drift {
    fn from(drift: &Drift) -> Self {
        let writer = drift.by.as_ref().map(|owner| &owner.writer);
        Self {
            by: drift.manager().to_owned(),
            operation: writer.map_or("", |writer| writer.operation.as_str()).to_owned(),
            subresource: writer
                .and_then(|writer| writer.subresource.as_deref())
                .unwrap_or_default()
                .to_owned(),
            at: Some(timestamp(drift.at)),
            from: Some(drift.from.get()),
            to: Some(drift.to.get()),
            likely_by: drift.likely_by.as_deref().unwrap_or_default().to_owned(),
        }
    }
}

impl From<SteadyConflict> for proto::SteadyConflict {
    fn from(conflict: SteadyConflict) -> Self {
        Self {
            by: conflict.by.map(|writer| writer.manager.to_string()).unwrap_or_default(),
            period: Some(duration(conflict.period)),
            rounds: conflict.rounds.into(),
            likely_by: conflict.likely_by.as_deref().unwrap_or_default().to_owned(),
        }
    }
}

/// The conflict over a target, if it is contested.
pub fn contest(record: &Record, now: Now) -> Option<proto::Contest> {
    let contested = record.conflict.contested()?;
    let wait = contested.next_repair.saturating_duration_since(now.monotonic);
    let until = (!wait.is_zero()).then(|| timestamp(now.wall + wait));
    Some(proto::Contest { by: record.last_drift.as_ref().map_or("", Drift::manager).to_owned(), until })
}

/// Writes of a target that failed in a row, cheap to clone.
#[derive(Clone, Debug)]
pub struct LastFailure {
    reason: &'static str,
    details: Arc<FailureDetails>,
    next_try: Timestamp,
    attempts: u32,
}

impl LastFailure {
    /// `None`: the last write succeeded, or there was none.
    pub fn of(record: &Record, now: Now) -> Option<Self> {
        let failures = record.failures.as_ref()?;
        let details = Arc::clone(failures.details.as_ref()?);
        let next_try = now.wall + failures.due.saturating_duration_since(now.monotonic);
        Some(Self { reason: failures.last.as_str(), details, next_try, attempts: failures.in_a_row })
    }

    /// The length of its message in bytes.
    pub fn message_len(&self) -> usize {
        self.details.message.len()
    }
}

impl From<LastFailure> for proto::Failure {
    fn from(failure: LastFailure) -> Self {
        let LastFailure { reason, details, next_try, attempts } = failure;
        Self {
            reason: reason.to_owned(),
            code: details.code.map(i32::from),
            message: details.message.clone(),
            since: Some(timestamp(details.since)),
            next_try: Some(timestamp(next_try)),
            attempts: attempts.into(),
        }
    }
}

/// An enforcement mode and its end.
pub fn enforcement(enforcement: Enforcement) -> (proto::EnforcementMode, Option<prost_types::Timestamp>) {
    match enforcement {
        Enforcement::Enforce => (proto::EnforcementMode::Enforce, None),
        Enforcement::Ignore { until } => (proto::EnforcementMode::Ignore, until.map(timestamp)),
    }
}

/// A generation. It starts at 1 and grows by one, so in practice it always fits.
pub fn generation(generation: u64) -> i64 {
    i64::try_from(generation).unwrap_or(i64::MAX)
}

/// The token of the page after `last`.
pub fn page_token(last: &EntryTarget) -> String {
    last.to_string()
}

/// The fields for the kind of a target: the kind, and the name of one that is not known.
pub fn kind(target: &EntryTarget) -> (proto::Kind, String) {
    match target {
        EntryTarget::Known(target) => (target.kind().into(), String::new()),
        EntryTarget::Other(_) => (proto::Kind::default(), target.kind().to_owned()),
    }
}

/// A time.
pub fn timestamp(timestamp: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: timestamp.as_second(), nanos: timestamp.subsec_nanosecond() }
}

/// A duration.
pub fn duration(duration: Duration) -> prost_types::Duration {
    // Only durations of more than 292 billion years do not fit.
    prost_types::Duration::try_from(duration).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use replica_count_core::replicas::Replicas;

    use super::*;

    #[test]
    fn a_contest_shows_how_long_the_next_repair_waits() {
        let mut record = Record { autoscaler: Some("web".into()), ..Record::default() };
        let start = Instant::now();
        let contest = |record: &Record, seconds| {
            let monotonic = start + Duration::from_secs(seconds);
            let until = contest(record, Now { wall: Timestamp::UNIX_EPOCH, monotonic })?.until;
            Some(until.map(|until| until.seconds))
        };
        assert_eq!(contest(&record, 0), None);
        let desired = Replicas::new(1).expect("valid");
        let found = Replicas::new(2).expect("valid");
        let (uid, at) = ("u".into(), Timestamp::UNIX_EPOCH);
        let drift = Drift { uid, by: None, likely_by: None, at, from: desired, to: found };
        record.record_drift(&drift, start, 1.0);
        record.record_repaired(desired, start, 1.0);
        assert_eq!(contest(&record, 0), Some(Some(10)));
        assert_eq!(contest(&record, 4), Some(Some(6)));
        assert_eq!(contest(&record, 10), Some(None), "it does not wait");
    }
}
