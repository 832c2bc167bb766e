//! Single reads, for what the watch may not have shown yet.

use std::time::Duration;

use kube::{Api, Client};
use replica_count_core::observed::Observed;
use replica_count_core::target::Target;

use super::deployment::SlimDeployment;

/// How long one read may take.
const READ_DEADLINE: Duration = Duration::from_secs(3);

/// Why a read has no answer.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The API server did not answer in time.
    #[error("the Kubernetes API server did not answer within {READ_DEADLINE:?}")]
    Deadline,
    /// The API server could not be reached, or refused.
    #[error("the Kubernetes API server could not be asked: {0}")]
    Kube(#[from] kube::Error),
    /// The answer makes no sense.
    #[error(transparent)]
    Malformed(#[from] super::watch::MalformedObject),
}

/// Asks the API server for one Deployment. `None`: it does not exist.
pub async fn get(client: &Client, target: &Target) -> Result<Option<Observed>, ReadError> {
    let api: Api<SlimDeployment> = Api::namespaced(client.clone(), target.namespace());
    let answer = tokio::time::timeout(READ_DEADLINE, api.get_opt(target.name()));
    match answer.await.map_err(|_elapsed| ReadError::Deadline)?? {
        Some(deployment) => Ok(Some(deployment.into_observed()?.1)),
        None => Ok(None),
    }
}

/// Whether the API server can be reached and answers.
pub async fn reach(client: &Client) -> Result<(), ReadError> {
    tokio::time::timeout(READ_DEADLINE, client.apiserver_version())
        .await
        .map_err(|_elapsed| ReadError::Deadline)??;
    Ok(())
}
