//! An autoscaler that targets a Deployment for a while. Nobody carries out what it says: there are no controllers.

use anyhow::Result;
use replica_count_api::proto::GetDeploymentRequest;
use tokio::sync::watch;

use super::Place;
use crate::patience::{Verdict, until};
use crate::schedule::CONVERGENCE;
use crate::server::Access;

const NAME: &str = "autoscaler";

pub(super) async fn appear(place: &Place<'_>) -> Result<Verdict> {
    place.changes.autoscale(NAME, &place.names[0]).await?;
    Ok(Ok(()))
}

/// By now the server must have told of it. That it notices the end of it, too, shows in the state of the target.
pub(super) async fn go(place: &Place<'_>, server: &watch::Receiver<Access>) -> Result<Verdict> {
    let (name, namespace) = (&place.names[0], place.namespace);
    let shown = until("Get names the autoscaler", CONVERGENCE, async || {
        let mut client = server.borrow().client.clone();
        let request = GetDeploymentRequest {
            name: name.clone(),
            namespace: namespace.to_owned(),
            ..GetDeploymentRequest::default()
        };
        let answer = client.get_deployment(request).await.map_err(|status| status.to_string())?.into_inner();
        if answer.autoscaler.ends_with(NAME) { Ok(()) } else { Err(format!("{answer:?}")) }
    })
    .await;
    place.changes.stop_autoscaling(NAME).await?;
    Ok(shown)
}
