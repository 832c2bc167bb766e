//! An autoscaler that targets a workload for a while. It has no effect, because there are no controllers.

use anyhow::Result;
use replica_count_api::proto::GetDeploymentRequest;
use tokio::sync::watch;

use super::RoundContext;
use crate::retry::{Verdict, retry};
use crate::schedule::CONVERGENCE_DEADLINE;
use crate::server::Access;

const NAME: &str = "autoscaler";

pub(super) async fn create(context: &RoundContext<'_>) -> Result<Verdict> {
    context.changes.autoscale(NAME, &context.workloads[0]).await?;
    Ok(Ok(()))
}

/// By now the server must report it. After the deletion, convergence checks that the server has noticed that, too.
pub(super) async fn delete(context: &RoundContext<'_>, server: &watch::Receiver<Access>) -> Result<Verdict> {
    let (workload, namespace) = (&context.workloads[0], context.namespace);
    let shown = retry("Get names the autoscaler", CONVERGENCE_DEADLINE, async || {
        let mut client = server.borrow().client.clone();
        let request = GetDeploymentRequest {
            name: workload.name.clone(),
            namespace: namespace.to_owned(),
            kind: workload.proto_kind(),
            ..Default::default()
        };
        let answer = client.get_deployment(request).await.map_err(|status| status.to_string())?.into_inner();
        if answer.autoscaler.ends_with(NAME) { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
    context.changes.stop_autoscaling(NAME).await?;
    Ok(shown)
}
