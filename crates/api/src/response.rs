//! Converts types of the domain to protobuf.

use std::sync::Arc;
use std::time::Duration;

use jiff::Timestamp;
use replica_count_core::clock::Now;
use replica_count_core::drift::Drift;
use replica_count_core::entry_target::EntryTarget;
use replica_count_core::failures::FailureDetails;
use replica_count_core::guard::{GuardState, Mode};
use replica_count_core::kind::Kind;
use replica_count_core::record::Record;
use replica_count_core::replicas::Replicas;
use replica_count_core::setting::{Enforcement, Setting};
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

impl From<GuardState> for proto::GuardState {
    fn from(guard_state: GuardState) -> Self {
        match guard_state {
            GuardState::Unguarded => Self::Unguarded,
            GuardState::Behind => Self::GuardPending,
            GuardState::Suspended => Self::GuardSuspended,
            GuardState::InForce(Mode::Warn) => Self::GuardWarns,
            GuardState::InForce(Mode::Deny) => Self::GuardDenies,
            GuardState::InForce(Mode::Correct) => Self::GuardCorrects,
        }
    }
}

/// The last drift of a target, and what it has cost.
pub fn last_drift(record: &Record) -> Option<proto::Drift> {
    let pods_lost = i32::try_from(record.pods.lost()).unwrap_or(i32::MAX);
    let drift = record.last_drift.as_ref().map(Into::into);
    drift.map(|drift: proto::Drift| proto::Drift { pods_lost: Some(pods_lost), ..drift })
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
            pods_lost: None,
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
    /// `None`: as soon as the workload changes.
    next_try: Option<Timestamp>,
    attempts: u32,
}

impl LastFailure {
    /// `None`: the last write succeeded, or there was none.
    pub fn of(record: &Record, now: Now) -> Option<Self> {
        let failures = record.failures.as_ref()?;
        let details = Arc::clone(failures.details.as_ref()?);
        let next_try = record.next_try(now.monotonic);
        let next_try = next_try.map(|at| now.wall + at.saturating_duration_since(now.monotonic));
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
            next_try: next_try.map(timestamp),
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

/// When a temporary count ends, and the desired count afterwards. Both are absent if it is not one.
pub fn hold(setting: &Setting) -> (Option<prost_types::Timestamp>, Option<i32>) {
    let hold = setting.hold;
    let afterwards = hold.and_then(|hold| hold.afterwards);
    (hold.map(|hold| timestamp(hold.until)), afterwards.map(Replicas::get))
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

    use replica_count_core::conflict::{Basis, View};
    use replica_count_core::failures::Failure;

    use super::*;

    fn count(n: i32) -> Replicas {
        Replicas::new(n).expect("valid")
    }

    /// A record of a drift from 1 to 2, with this many repairs of it before.
    fn drifted(repairs: u32, now: Instant) -> Record {
        let (uid, at) = ("u".into(), Timestamp::UNIX_EPOCH);
        let drift = Drift { uid, by: None, likely_by: None, at, from: count(1), to: count(2) };
        let mut record = Record { autoscaler: Some("web".into()), ..Record::default() };
        for _ in 0..repairs {
            record.record_drift(&drift, now, 1.0);
            record.record_repaired(count(1), now, 1.0);
        }
        record.record_drift(&drift, now, 1.0);
        record
    }

    /// Records a failure after which the API server asks to wait for as many seconds.
    fn fail(record: &mut Record, failure: Failure, seconds: u64, now: Instant) {
        let view = View { uid: "u".into(), replicas: count(2) };
        let retry_after = Duration::from_secs(seconds);
        record.record_failure(view, Basis::Version, failure, retry_after, now, 1.0).describe(
            Some(500),
            "failed".into(),
            Timestamp::UNIX_EPOCH,
        );
    }

    #[test]
    fn a_failure_shows_when_the_next_write_is_sent() {
        let start = Instant::now();
        // The failure, its Retry-After, how many repairs there were before, and the time of the next one in seconds.
        // After a repair, the next one waits for 10 s.
        for (failure, retry_after, repairs, expected) in [
            (Failure::Failed, 0, 0, Some(0)),
            (Failure::Throttled, 7, 0, Some(7)),
            (Failure::Failed, 0, 1, Some(10)),
            (Failure::Throttled, 7, 1, Some(10)),
            (Failure::Throttled, 17, 1, Some(17)),
            (Failure::Stale, 0, 0, None),
            (Failure::Stale, 0, 1, Some(10)),
        ] {
            let mut record = drifted(repairs, start);
            fail(&mut record, failure, retry_after, start);
            let last_failure = |record: &Record, seconds| {
                let monotonic = start + Duration::from_secs(seconds);
                let failure = LastFailure::of(record, Now { wall: Timestamp::UNIX_EPOCH, monotonic })?;
                Some(proto::Failure::from(failure))
            };
            let next_try = last_failure(&record, 0).expect("a failure").next_try;
            assert_eq!(next_try.map(|at| at.seconds), expected, "{failure:?} {retry_after} {repairs}");
            for mutate in [
                |record: &mut Record| {
                    record.record_missing();
                },
                |record: &mut Record| drop(record.record_in_effect(count(1), Instant::now(), 1.0)),
            ] {
                let mut record = record.clone();
                mutate(&mut record);
                assert_eq!(last_failure(&record, 0), None, "{failure:?}");
                fail(&mut record, failure, 0, start);
                assert!(last_failure(&record, 0).is_some(), "{failure:?} again");
            }
        }
    }

    #[test]
    fn a_delay_that_is_over_does_not_hide_that_a_change_is_awaited() {
        let start = Instant::now();
        let mut record = drifted(1, start);
        fail(&mut record, Failure::Stale, 0, start);
        let until = start + Duration::from_secs(10);
        assert_eq!((record.next_try(start), record.next_try(until)), (Some(until), None));
    }

    #[test]
    fn a_contest_shows_how_long_the_next_repair_waits() {
        let start = Instant::now();
        let contest = |record: &Record, seconds| {
            let monotonic = start + Duration::from_secs(seconds);
            let until = contest(record, Now { wall: Timestamp::UNIX_EPOCH, monotonic })?.until;
            Some(until.map(|until| until.seconds))
        };
        assert_eq!(contest(&drifted(0, start), 0), None);
        let record = drifted(1, start);
        assert_eq!(contest(&record, 0), Some(Some(10)));
        assert_eq!(contest(&record, 4), Some(Some(6)));
        assert_eq!(contest(&record, 10), Some(None), "it does not wait");
    }
}
