//! Watches during a round which counts are wrong, and whether the server shows it.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::Result;
use replica_count_api::proto::{
    DeploymentState, DeploymentsReplicaConfig, DeploymentsReplicaConfigs, Kind, ListDeploymentsRequest,
};
use tokio::sync::watch;
use tokio::time;
use tonic::Status;

use crate::cluster_changes::ClusterChanges;
use crate::server::Access;
use crate::trace::{Note, Trace, Wrong};

const PERIOD: Duration = Duration::from_millis(500);
/// A server that takes longer counts as unreachable, which everybody notices.
const TIMEOUT: Duration = Duration::from_secs(2);

/// Notes in the trace each change of what is wrong, until it is dropped.
pub(crate) async fn watch(
    namespace: &str,
    changes: &ClusterChanges<'_>,
    server: watch::Receiver<Access>,
    trace: &Trace,
) -> Result<Infallible> {
    let mut last = Wrong::default();
    let mut ticks = time::interval(PERIOD);
    loop {
        ticks.tick().await;
        let mut wrong = Wrong::default();
        if let Ok(Ok(list)) = time::timeout(TIMEOUT, list(&server, namespace)).await {
            for (workload, count) in changes.counts().await? {
                let is_row = |row: &&DeploymentsReplicaConfig| {
                    (row.kind, &row.name) == (workload.proto_kind(), &workload.name)
                };
                let row = list.deployments_replica_config.iter().find(is_row);
                let row = row.filter(|row| row.replicas.is_some_and(|desired| desired != count));
                let Some(row) = row else { continue };
                let targets = if is_shown(&list, row) { &mut wrong.shown } else { &mut wrong.hidden };
                targets.insert(workload.to_string());
            }
        }
        if wrong != last {
            trace.note(Note::WrongCounts(wrong.clone()));
            last = wrong;
        }
    }
}

/// All settings of the round.
pub(crate) async fn list(
    server: &watch::Receiver<Access>,
    namespace: &str,
) -> Result<DeploymentsReplicaConfigs, Status> {
    let mut client = server.borrow().client.clone();
    let request = ListDeploymentsRequest {
        namespace: namespace.to_owned(),
        kinds: vec![Kind::Deployment.into(), Kind::StatefulSet.into()],
        ..ListDeploymentsRequest::default()
    };
    Ok(client.list_deployments(request).await?.into_inner())
}

/// Whether the list says that this count may be wrong.
pub(crate) fn is_shown(list: &DeploymentsReplicaConfigs, row: &DeploymentsReplicaConfig) -> bool {
    list.observed_age.is_some() || row.last_failure.is_some() || row.state() != DeploymentState::InSync
}
