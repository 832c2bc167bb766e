//! Lists workloads of all kinds that a server has.

use replica_count_api::proto::{DeploymentsReplicaConfig, GetDeploymentResponse, ListDeploymentsRequest};
use replica_count_client::Connection;
use replica_count_client::pages::Pages;
use tonic::Status;

use super::refusal::reason;

/// All rows of ListDeployments, with the fields that rows have. If the server refuses to list unmanaged workloads of a
/// kind for one of `reasons`, only the managed ones of that kind are listed.
pub async fn list(
    connection: &Connection,
    request: ListDeploymentsRequest,
    reasons: &[&str],
) -> Result<Vec<GetDeploymentResponse>, Status> {
    let is_refused =
        |answer: &Result<_, Status>| answer.as_ref().is_err_and(|status| reasons.contains(&&*reason(status)));
    let answer = rows(connection, request.clone()).await;
    if !is_refused(&answer) {
        return answer;
    }
    let mut all = Vec::new();
    for kind in &request.kinds {
        let mut request = ListDeploymentsRequest { kinds: vec![*kind], ..request.clone() };
        let mut answer = rows(connection, request.clone()).await;
        if is_refused(&answer) {
            request.include_unmanaged = false;
            answer = rows(connection, request).await;
        }
        all.extend(answer?);
    }
    Ok(all)
}

async fn rows(
    connection: &Connection,
    request: ListDeploymentsRequest,
) -> Result<Vec<GetDeploymentResponse>, Status> {
    let mut pages = Pages::new(connection, request);
    let mut rows = Vec::new();
    while let Some(page) = pages.next().await? {
        let observed_age = page.observed_age;
        let answers = page.deployments_replica_config.into_iter().map(answer);
        rows.extend(answers.map(|answer| GetDeploymentResponse { observed_age, ..answer }));
    }
    Ok(rows)
}

/// A row, as far as it goes, as the answer about its workload.
pub fn answer(row: DeploymentsReplicaConfig) -> GetDeploymentResponse {
    GetDeploymentResponse {
        name: row.name,
        namespace: row.namespace,
        desired_replicas: row.replicas,
        current_replicas: row.current_replicas,
        ready_replicas: row.ready_replicas,
        state: row.state,
        kind: row.kind,
        state_reason: row.state_reason,
        last_failure: row.last_failure,
        steady_conflict: row.steady_conflict,
        other_kind: row.other_kind,
        hold_until: row.hold_until,
        replicas_afterwards: row.replicas_afterwards,
        ..GetDeploymentResponse::default()
    }
}
