//! The words of the domain, as they go over the wire.

use std::time::Duration;

use jiff::Timestamp;
use replica_count_core::decide::Now;
use replica_count_core::history::{Drift, History};
use replica_count_core::setting::Enforcement;
use replica_count_core::state::State;
use replica_count_core::target::Target;

use crate::proto;

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
        }
    }
}

impl From<&Drift> for proto::Drift {
    fn from(drift: &Drift) -> Self {
        let owner = drift.by.as_ref();
        Self {
            by: drift.manager().to_owned(),
            operation: owner.map_or("", |owner| owner.operation.as_str()).to_owned(),
            subresource: owner.and_then(|owner| owner.subresource.as_deref()).unwrap_or_default().to_owned(),
            at: Some(timestamp(drift.at)),
            from: Some(drift.from.get()),
            to: Some(drift.to.get()),
        }
    }
}

/// The contest about a target, if there is one.
pub fn contest(history: &History, now: Now) -> Option<proto::Contest> {
    let contest = history.damping.contest()?;
    let left = contest.next_repair.saturating_duration_since(now.monotonic);
    let until = (!left.is_zero()).then(|| timestamp(now.wall + left));
    Some(proto::Contest { by: history.last.as_ref().map_or("", Drift::manager).to_owned(), until })
}

/// A mode of enforcement and its end.
pub fn enforcement(enforcement: Enforcement) -> (proto::EnforcementMode, Option<prost_types::Timestamp>) {
    match enforcement {
        Enforcement::Enforce => (proto::EnforcementMode::Enforce, None),
        Enforcement::Ignore { until } => (proto::EnforcementMode::Ignore, until.map(timestamp)),
    }
}

/// A generation: it starts at 1 and grows by one, so it fits for longer than anyone will count.
pub fn generation(generation: u64) -> i64 {
    i64::try_from(generation).unwrap_or(i64::MAX)
}

/// The token of the page after `last`.
pub fn page_token(last: &Target) -> String {
    last.to_string()
}

/// A time.
pub fn timestamp(timestamp: Timestamp) -> prost_types::Timestamp {
    prost_types::Timestamp { seconds: timestamp.as_second(), nanos: timestamp.subsec_nanosecond() }
}

/// A length of time.
pub fn duration(duration: Duration) -> prost_types::Duration {
    // Only lengths of more than 292 billion years do not fit.
    prost_types::Duration::try_from(duration).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use std::time::Instant;

    use replica_count_core::backoff::Moment;
    use replica_count_core::replicas::Replicas;

    use super::*;

    #[test]
    fn a_contest_shows_how_long_the_next_repair_waits() {
        let mut history = History { autoscaler: Some("web".into()), ..History::default() };
        let start = Instant::now();
        let contest = |history: &History, seconds| {
            let monotonic = start + Duration::from_secs(seconds);
            let until = contest(history, Now { wall: Timestamp::UNIX_EPOCH, monotonic })?.until;
            Some(until.map(|until| until.seconds))
        };
        assert_eq!(contest(&history, 0), None);
        let desired = Replicas::new(1).expect("valid");
        history.record_repaired(desired, Moment { at: start, jitter: 1.0 });
        assert_eq!(contest(&history, 0), Some(Some(10)));
        assert_eq!(contest(&history, 4), Some(Some(6)));
        assert_eq!(contest(&history, 10), Some(None), "it does not wait");
    }
}
