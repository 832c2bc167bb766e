//! An admission webhook denies what the server writes, then is slower than its first deadline, and goes.

use std::time::Duration;

use anyhow::Result;
use replica_count_api::proto::GetDeploymentRequest;
use replica_count_testbed::Webhook;
use replica_count_testbed::webhook::{self, Verdict as Answer};
use tokio::sync::watch;
use tokio::time;

use super::RoundContext;
use crate::retry::{Verdict, retry};
use crate::schedule::CONVERGENCE_DEADLINE;
use crate::server::Access;

/// Longer than the first deadline of a write, shorter than the second.
const SLOW: Duration = Duration::from_secs(6);
/// How long the webhook is slow.
const SLOW_PHASE: Duration = Duration::from_secs(8);

pub(super) async fn deny_and_delay(
    context: &RoundContext<'_>,
    server: &watch::Receiver<Access>,
) -> Result<Verdict> {
    let (control_plane, namespace) = (context.changes.control_plane(), context.namespace);
    let webhook = Webhook::start(control_plane).await?;
    // The status would look like a workload that is gone.
    webhook.answer(Answer::Deny(404));
    webhook.register(control_plane, namespace, webhook::OF_SERVER).await?;
    let told = retry("Get tells that admission denies", CONVERGENCE_DEADLINE, async || {
        // Writes before the webhook was in force may have succeeded.
        context.set_reserved(server).await?;
        let target = context.reserved_target();
        let mut client = server.borrow().client.clone();
        let request = GetDeploymentRequest {
            name: target.name.clone(),
            namespace: namespace.to_owned(),
            kind: target.proto_kind(),
            ..Default::default()
        };
        let answer = client.get_deployment(request).await.map_err(|status| status.to_string())?.into_inner();
        match &answer.last_failure {
            Some(failure) if failure.reason == "denied" => Ok(()),
            Some(_) | None => Err(format!("{answer:?}")),
        }
    })
    .await;
    webhook.answer(Answer::AllowAfter(SLOW));
    time::sleep(SLOW_PHASE).await;
    webhook.answer(Answer::Allow);
    Webhook::unregister(control_plane, namespace).await?;
    // The API server may call it a little longer.
    time::sleep(Duration::from_secs(1)).await;
    Ok(told)
}
