//! The words of the domain, as they go over the wire.

use std::time::Duration;

use jiff::Timestamp;
use replica_count_core::history::Drift;
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
