//! What the page sends and receives. Times are milliseconds since 1970, durations are milliseconds.

use std::mem;

use replica_count_api::proto;
use serde::{Deserialize, Serialize};

use crate::output::words::millis;

/// A workload in a request.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash, Deserialize)]
#[serde(rename_all = "camelCase", deny_unknown_fields)]
pub(super) struct Target {
    /// Its namespace.
    pub(super) namespace: String,
    /// Its name.
    pub(super) name: String,
    /// Its kind, as in a row.
    pub(super) kind: String,
}

/// A workload and its state.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Row {
    pub(super) namespace: String,
    pub(super) name: String,
    /// `Deployment`, `StatefulSet`, or a kind that the server does not know.
    pub(super) kind: String,
    /// The name in the contract, such as `IN_SYNC`.
    pub(super) state: &'static str,
    pub(super) desired: Option<i32>,
    pub(super) current: Option<i32>,
    pub(super) ready: Option<i32>,
    /// When the desired count ends, because it is temporary.
    pub(super) hold_until: Option<i64>,
    /// With that: the desired count afterwards. `None`: it is not managed any more then.
    pub(super) afterwards: Option<i32>,
    pub(super) state_reason: String,
    pub(super) failure: Option<WriteFailure>,
    pub(super) conflict: Option<SteadyConflict>,
}

/// Writes that failed in a row.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct WriteFailure {
    pub(super) reason: String,
    pub(super) code: Option<i32>,
    pub(super) message: String,
    pub(super) since: Option<i64>,
    pub(super) next_try: Option<i64>,
    pub(super) attempts: i64,
}

/// Somebody changes the count again and again.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct SteadyConflict {
    pub(super) by: String,
    pub(super) likely_by: String,
    pub(super) period: Option<i64>,
    pub(super) rounds: i64,
}

/// Everything about one workload.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Detail {
    #[serde(flatten)]
    pub(super) row: Row,
    pub(super) generation: i64,
    pub(super) set_by: String,
    pub(super) set_by_certainty: &'static str,
    pub(super) set_at: Option<i64>,
    pub(super) reason: String,
    /// Whether the setting is enforced: `ENFORCE` or `IGNORE`.
    pub(super) enforcement: &'static str,
    pub(super) enforcement_until: Option<i64>,
    pub(super) last_drift: Option<Drift>,
    pub(super) drift_count: i64,
    pub(super) observed_age: Option<i64>,
    pub(super) contest: Option<Contest>,
    pub(super) autoscaler: String,
    pub(super) guard: &'static str,
    pub(super) guarded: bool,
}

/// One drift.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Drift {
    pub(super) by: String,
    pub(super) likely_by: String,
    pub(super) operation: String,
    pub(super) subresource: String,
    pub(super) at: Option<i64>,
    pub(super) from: Option<i32>,
    pub(super) to: Option<i32>,
    pub(super) pods_lost: Option<i32>,
}

/// A conflict that delays repairs.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub(super) struct Contest {
    pub(super) by: String,
    pub(super) until: Option<i64>,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "camelCase")]
pub(super) struct Event {
    pub(super) id: i64,
    pub(super) namespace: String,
    pub(super) name: String,
    pub(super) kind: String,
    /// The name in the contract without `EVENT_`, such as `DRIFTED`.
    pub(super) what: &'static str,
    pub(super) at: Option<i64>,
    pub(super) generation: i64,
    pub(super) from: Option<i32>,
    pub(super) to: Option<i32>,
    pub(super) by: String,
    /// `UNKNOWN`, `PROVEN`, `CLAIMED` or `SUSPECTED`.
    pub(super) certainty: &'static str,
    pub(super) operation: String,
    pub(super) subresource: String,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) code: Option<i32>,
    pub(super) took: Option<i64>,
    pub(super) wait: Option<i64>,
    pub(super) pods_lost: Option<i32>,
    pub(super) times: i64,
    pub(super) until: Option<i64>,
    pub(super) autoscaler: String,
}

const DEPLOYMENT: &str = "Deployment";
const STATEFUL_SET: &str = "StatefulSet";

/// The name of a kind.
pub(super) fn kind_name(kind: proto::Kind, other: &str) -> String {
    match kind {
        _ if !other.is_empty() => other.to_owned(),
        proto::Kind::Deployment => DEPLOYMENT.to_owned(),
        proto::Kind::StatefulSet => STATEFUL_SET.to_owned(),
    }
}

impl Target {
    /// The kind in a request: a known one, or the name of another.
    pub(super) fn kind(&self) -> (proto::Kind, String) {
        match self.kind.as_str() {
            DEPLOYMENT => (proto::Kind::Deployment, String::new()),
            STATEFUL_SET => (proto::Kind::StatefulSet, String::new()),
            other => (proto::Kind::Deployment, other.to_owned()),
        }
    }
}

fn length(duration: Option<&prost_types::Duration>) -> Option<i64> {
    let duration = duration?;
    Some(duration.seconds.saturating_mul(1000).saturating_add(i64::from(duration.nanos) / 1_000_000))
}

fn certainty(certainty: proto::AuthorCertainty) -> &'static str {
    certainty.as_str_name().trim_start_matches("AUTHOR_")
}

impl From<proto::GetDeploymentResponse> for Row {
    fn from(got: proto::GetDeploymentResponse) -> Self {
        Self {
            kind: kind_name(got.kind(), &got.other_kind),
            state: got.state().as_str_name(),
            namespace: got.namespace,
            name: got.name,
            desired: got.desired_replicas,
            current: got.current_replicas,
            ready: got.ready_replicas,
            hold_until: millis(got.hold_until.as_ref()),
            afterwards: got.replicas_afterwards,
            state_reason: got.state_reason,
            failure: got.last_failure.map(Into::into),
            conflict: got.steady_conflict.map(Into::into),
        }
    }
}

impl From<proto::Failure> for WriteFailure {
    fn from(failure: proto::Failure) -> Self {
        Self {
            since: millis(failure.since.as_ref()),
            next_try: millis(failure.next_try.as_ref()),
            reason: failure.reason,
            code: failure.code,
            message: failure.message,
            attempts: failure.attempts,
        }
    }
}

impl From<proto::SteadyConflict> for SteadyConflict {
    fn from(conflict: proto::SteadyConflict) -> Self {
        Self {
            period: length(conflict.period.as_ref()),
            by: conflict.by,
            likely_by: conflict.likely_by,
            rounds: conflict.rounds,
        }
    }
}

impl From<proto::GetDeploymentResponse> for Detail {
    fn from(mut got: proto::GetDeploymentResponse) -> Self {
        Self {
            generation: got.generation,
            set_by: mem::take(&mut got.set_by),
            set_by_certainty: certainty(got.set_by_certainty()),
            set_at: millis(got.set_at.as_ref()),
            reason: mem::take(&mut got.reason),
            enforcement: got.enforcement().as_str_name(),
            enforcement_until: millis(got.enforcement_until.as_ref()),
            last_drift: got.last_drift.take().map(Into::into),
            drift_count: got.drift_count,
            observed_age: length(got.observed_age.as_ref()),
            contest: got
                .contest
                .take()
                .map(|contest| Contest { until: millis(contest.until.as_ref()), by: contest.by }),
            autoscaler: mem::take(&mut got.autoscaler),
            guard: got.guard().as_str_name(),
            guarded: got.guarded,
            row: got.into(),
        }
    }
}

impl From<proto::Drift> for Drift {
    fn from(drift: proto::Drift) -> Self {
        Self {
            at: millis(drift.at.as_ref()),
            by: drift.by,
            likely_by: drift.likely_by,
            operation: drift.operation,
            subresource: drift.subresource,
            from: drift.from,
            to: drift.to,
            pods_lost: drift.pods_lost,
        }
    }
}

impl From<proto::Event> for Event {
    fn from(event: proto::Event) -> Self {
        Self {
            kind: kind_name(event.kind(), ""),
            what: event.r#type().as_str_name().trim_start_matches("EVENT_"),
            certainty: certainty(event.certainty()),
            at: millis(event.at.as_ref()),
            took: length(event.took.as_ref()),
            wait: length(event.wait.as_ref()),
            until: millis(event.until.as_ref()),
            id: event.id,
            namespace: event.namespace,
            name: event.name,
            generation: event.generation,
            from: event.from,
            to: event.to,
            by: event.by,
            operation: event.operation,
            subresource: event.subresource,
            reason: event.reason,
            message: event.message,
            code: event.code,
            pods_lost: event.pods_lost,
            times: event.times,
            autoscaler: event.autoscaler,
        }
    }
}
