//! Workloads as a table.

use jiff::Timestamp;
use replica_count_api::proto::{DeploymentState, EnforcementMode, GetDeploymentResponse};

use super::table::Table;
use super::words;
use crate::duration::{age, human};

/// Which columns there are.
#[derive(Clone, Copy, Debug)]
pub struct Layout {
    /// Columns for those who want to know more.
    pub wide: bool,
    /// A line of headers.
    pub headers: bool,
    /// A column for the namespace.
    pub namespaces: bool,
}

/// The table of some workloads.
pub fn table(found: &[GetDeploymentResponse], layout: Layout, now: Timestamp) -> String {
    let mut headers = vec!["NAME", "DESIRED", "CURRENT", "READY", "STATE", "AGE"];
    if layout.namespaces {
        headers.insert(0, "NAMESPACE");
    }
    if layout.wide {
        headers.extend(["SET-BY", "ENFORCED", "DRIFTS", "DRIFTED-BY", "REASON"]);
    }
    let state = headers.iter().position(|header| *header == "STATE").unwrap_or_default();
    let mut table = Table::new(layout.headers.then_some(&headers)).painted(state);
    for workload in found {
        let mut row = vec![
            words::listed_name(workload),
            words::count(workload.desired_replicas),
            words::count(workload.current_replicas),
            words::count(workload.ready_replicas),
            words::state(workload.state()).to_owned(),
            workload.set_at.and_then(words::time).map_or_else(|| "-".to_owned(), |at| age(at, now)),
        ];
        if layout.namespaces {
            row.insert(0, workload.namespace.clone());
        }
        if layout.wide {
            row.extend([
                words::or_dash(&workload.set_by),
                enforced(workload, now),
                workload.drift_count.to_string(),
                drifted_by(workload),
                words::or_dash(&workload.reason),
            ]);
        }
        table.push(row);
    }
    table.render()
}

/// The table of workloads that are not as desired, with the reason.
pub fn differences(found: &[GetDeploymentResponse], layout: Layout, now: Timestamp) -> String {
    let mut headers = vec!["NAME", "DESIRED", "CURRENT", "STATE", "BY", "WHY"];
    if layout.namespaces {
        headers.insert(0, "NAMESPACE");
    }
    let state = headers.iter().position(|header| *header == "STATE").unwrap_or_default();
    let mut table = Table::new(layout.headers.then_some(&headers)).painted(state);
    for workload in found {
        let mut row = vec![
            words::listed_name(workload),
            words::count(workload.desired_replicas),
            words::count(workload.current_replicas),
            words::state(workload.state()).to_owned(),
            drifted_by(workload),
            why(workload, now),
        ];
        if layout.namespaces {
            row.insert(0, workload.namespace.clone());
        }
        table.push(row);
    }
    table.render()
}

/// Why a workload is not as desired.
fn why(workload: &GetDeploymentResponse, now: Timestamp) -> String {
    if let Some(failure) = &workload.last_failure {
        return format!("cannot be written ({}): {}", failure.reason, failure.message);
    }
    if let Some(conflict) = &workload.steady_conflict {
        return format!("changed again and again, {} times", conflict.rounds);
    }
    let until = |time: Option<prost_types::Timestamp>| {
        time.and_then(words::time).map(|until| human(until.duration_since(now)))
    };
    match workload.state() {
        DeploymentState::Contested => {
            match until(workload.contest.as_ref().and_then(|contest| contest.until)) {
                Some(wait) => format!("changed too often: the next repair is in {wait}"),
                None => "changed too often: repaired at growing intervals".to_owned(),
            }
        }
        DeploymentState::Ignored => match until(workload.enforcement_until) {
            Some(wait) => format!("not enforced for {wait}"),
            None => "not enforced".to_owned(),
        },
        DeploymentState::Missing => "the workload does not exist".to_owned(),
        DeploymentState::Drifted => "is being repaired".to_owned(),
        DeploymentState::Autoscaled => format!("{} targets it", workload.autoscaler),
        DeploymentState::Unknown
        | DeploymentState::OutOfScope
        | DeploymentState::Unsupported
        | DeploymentState::Unmanaged
        | DeploymentState::InSync => words::or_dash(&workload.state_reason),
    }
}

/// Whether drift is repaired, and when it is again.
fn enforced(workload: &GetDeploymentResponse, now: Timestamp) -> String {
    match workload.enforcement() {
        EnforcementMode::ModeUnspecified => "-".to_owned(),
        EnforcementMode::Enforce => "yes".to_owned(),
        EnforcementMode::Ignore => match workload.enforcement_until.and_then(words::time) {
            Some(until) => format!("in {}", human(until.duration_since(now))),
            None => "no".to_owned(),
        },
    }
}

/// Who changed the count last. A name that is only suspected has a question mark.
fn drifted_by(workload: &GetDeploymentResponse) -> String {
    let suspected = |name: &str| if name.is_empty() { "-".to_owned() } else { format!("{name}?") };
    match &workload.last_drift {
        None if workload.state() == DeploymentState::Autoscaled => words::or_dash(&workload.autoscaler),
        None => "-".to_owned(),
        Some(drift) if drift.by.is_empty() => suspected(&drift.likely_by),
        Some(drift) => drift.by.clone(),
    }
}
