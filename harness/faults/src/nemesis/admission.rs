//! An admission webhook denies what the server writes, then is slower than its first deadline, and goes.

use std::time::Duration;

use anyhow::Result;
use replica_count_testbed::Webhook;
use replica_count_testbed::webhook::{self, Verdict as Answer};
use tokio::sync::watch;
use tokio::time;

use super::RoundContext;
use crate::retry::Verdict;
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
    let shown = context.set_reserved_until_failure(server, "denied").await;
    webhook.answer(Answer::AllowAfter(SLOW));
    time::sleep(SLOW_PHASE).await;
    webhook.answer(Answer::Allow);
    Webhook::unregister(control_plane, namespace).await?;
    // The API server may call it a little longer.
    time::sleep(Duration::from_secs(1)).await;
    Ok(shown)
}
