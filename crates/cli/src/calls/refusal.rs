//! Why the server refused a call, and what to do next.

use replica_count_client::describe::chain;
use std::error::Error as _;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::connect::{Session, explain as explain_transport};
use crate::failure::Failure;

/// The stable reason of a refusal. Empty: it has none.
pub fn reason(status: &Status) -> String {
    status.get_details_error_info().map(|info| info.reason).unwrap_or_default()
}

pub(super) fn explain(session: &Session, call: &str, status: &Status) -> Failure {
    if let Some(source) = status.source() {
        return explain_transport(&chain(source), &session.route, &session.pair);
    }
    let reason = reason(status);
    let failure = Failure::new(status.message()).with_reason(reason.clone());
    let advice = match reason.as_str() {
        "NOT_AUTHORIZED" => grant(session, call),
        "RESERVED_NAME" => "Use a client certificate whose names do not begin with system:.".to_owned(),
        "DEPLOYMENT_NOT_FOUND" => {
            "To set a count before the workload exists, add --allow-missing.".to_owned()
        }
        "DEPLOYMENT_NOT_MANAGED" => "Set a count first: `kubectl replicas set NAME COUNT`.".to_owned(),
        "DEPLOYMENT_AUTOSCALED" => {
            "Delete the autoscaler, or add --allow-autoscaled to fight with it.".to_owned()
        }
        "ENTRY_UNSUPPORTED" => "Delete the entry, or add --replace-unknown to replace it.".to_owned(),
        "GENERATION_MISMATCH" => {
            "Somebody has changed it meanwhile: look at it with `kubectl replicas who NAME`, and try again."
                .to_owned()
        }
        "NAMESPACE_NOT_FOUND" => "Create the namespace first.".to_owned(),
        "CLUSTER_NOT_READ" | "STORE_NOT_READ" | "SHUTTING_DOWN" | "STORE_BUSY" | "TOO_MANY_REQUESTS" => {
            "Try again in a moment.".to_owned()
        }
        "STORE_OUTCOME_UNKNOWN" => {
            "See what is stored with `kubectl replicas get`, and repeat the change if needed.".to_owned()
        }
        "STORE_UNAVAILABLE" | "STORE_FULL" => "See the log of the server.".to_owned(),
        _ if status.code() == Code::Unimplemented => {
            return Failure::new(format!("the server does not know {call}: it is older than this command"))
                .advise("Upgrade the server; `kubectl replicas version` shows both.");
        }
        _ if status.code() == Code::DeadlineExceeded || status.code() == Code::Cancelled => {
            return Failure::new(format!("{call}: the server did not answer in time")).advise(
                "A change may have been stored: look before you repeat it. --request-timeout waits longer.",
            );
        }
        _ => return failure,
    };
    failure.advise(advice)
}

/// The command that grants the right.
fn grant(session: &Session, call: &str) -> String {
    // Kubernetes' own roles have the rights of the chart's, which are aggregated to them.
    let role = match call {
        "GetDeployment" | "ListDeployments" | "ListEvents" | "WatchDeployments" => "view",
        _ => "edit",
    };
    let user = session.pair.certificate().map(|certificate| certificate.user).unwrap_or_default();
    format!(
        "Whoever may grant it: kubectl create rolebinding NAME -n NAMESPACE --clusterrole={role} --user='{user}'"
    )
}
