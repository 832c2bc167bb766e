//! The host of the API server cannot be resolved for a while. The server cannot read the cluster then, and says so.

use anyhow::{Result, ensure};
use replica_count_testbed::http;
use tokio::sync::watch;

use super::RoundContext;
use crate::retry::{Verdict, retry};
use crate::schedule::CONVERGENCE_DEADLINE;
use crate::server::Access;

pub(super) async fn name_and_restore(
    context: &RoundContext<'_>,
    server: &watch::Receiver<Access>,
) -> Result<Verdict> {
    let is_set = context.set_reserved(server).await;
    context.api_access.name_unknown_host()?;
    let shown = retry("the server shows that it cannot connect", CONVERGENCE_DEADLINE, async || {
        let address = server.borrow().http;
        let (status, body) = http::get(address, "/healthz").await?;
        ensure!(status == 503, "/healthz: {status} {body}");
        super::expect_blind(context, server).await
    })
    .await;
    super::drift_while_blind(context).await?;
    context.api_access.restore_kubeconfig()?;
    Ok(is_set.and(shown).and(super::recovered(server).await))
}
