//! The token of the server is revoked, and replaced after a while. Until then the server cannot read the cluster, and
//! says so.

use anyhow::{Context as _, Result, ensure};
use replica_count_testbed::http;
use tokio::sync::watch;

use super::RoundContext;
use crate::retry::{Verdict, retry};
use crate::schedule::CONVERGENCE_DEADLINE;
use crate::server::Access;

pub(super) async fn revoke_and_renew(
    context: &RoundContext<'_>,
    server: &watch::Receiver<Access>,
) -> Result<Verdict> {
    let is_set = context.set_reserved(server).await;
    context.api_access.revoke_token().await?;
    let shown = is_set.and(is_shown(context, server).await);
    super::drift_while_blind(context).await?;
    context.api_access.renew_token().await?;
    Ok(shown.and(super::recovered(server).await))
}

/// The same with a plugin, which hangs in the meantime.
pub(super) async fn hang_and_renew(
    context: &RoundContext<'_>,
    server: &watch::Receiver<Access>,
) -> Result<Verdict> {
    let is_set = context.set_reserved(server).await;
    context.api_access.name_hanging_plugin()?;
    context.api_access.revoke_token().await?;
    let shown = is_set.and(is_shown(context, server).await);
    super::drift_while_blind(context).await?;
    context.api_access.renew_token().await?;
    context.api_access.end_hanging()?;
    let recovered = super::recovered(server).await;
    context.api_access.restore_kubeconfig()?;
    Ok(shown.and(recovered))
}

/// Whether the server shows that its credentials are not accepted, everywhere.
async fn is_shown(context: &RoundContext<'_>, server: &watch::Receiver<Access>) -> Verdict {
    retry("the server shows that its credentials are not accepted", CONVERGENCE_DEADLINE, async || {
        let address = server.borrow().http;
        let (healthy, reason) = http::get(address, "/healthz").await?;
        let (ready, problems) = http::get(address, "/readyz").await?;
        // It was restarted, and the plugin has given nothing yet.
        if (healthy, ready) == (503, 503) && reason.starts_with("credentials: ") {
            return Ok(());
        }
        ensure!(healthy == 503 && reason.starts_with("unauthorized: "), "/healthz: {healthy} {reason}");
        ensure!(problems.contains("has not accepted the credentials"), "/readyz: {ready} {problems}");
        let (_, metrics) = http::get(address, "/metrics").await?;
        let mut seconds = metrics.lines().filter_map(|line| {
            line.strip_prefix("replica_count_manager_kubernetes_unauthenticated_seconds ")
        });
        let seconds: f64 = seconds.next().context("there is no such metric")?.parse()?;
        ensure!(seconds > 0.0, "the metric says that they are accepted");
        super::expect_blind(context, server).await
    })
    .await
}
