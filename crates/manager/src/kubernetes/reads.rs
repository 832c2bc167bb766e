//! Reads of single objects that the watch may not have shown yet.

use std::time::Duration;

use http::{Request, StatusCode};
use kube::Client;
use replica_count_core::observed::Observed;
use replica_count_core::target::Target;
use tokio::time::timeout;

use super::malformed::MalformedObject;
use super::path;
use super::workload::Workload;

/// How long one read may take.
const READ_DEADLINE: Duration = Duration::from_secs(3);

/// Why a read failed.
#[derive(Debug, thiserror::Error)]
pub enum ReadError {
    /// The API server did not answer in time.
    #[error("the Kubernetes API server did not answer within {READ_DEADLINE:?}")]
    Deadline,
    /// The API server could not be reached, or refused.
    #[error("the request to the Kubernetes API server failed: {0}")]
    Kube(#[from] kube::Error),
    /// The answer is not a valid workload.
    #[error(transparent)]
    Malformed(#[from] MalformedObject),
}

impl ReadError {
    /// Whether a permission is missing.
    pub fn is_forbidden(&self) -> bool {
        matches!(self, Self::Kube(kube::Error::Api(status)) if status.code == StatusCode::FORBIDDEN)
    }
}

/// Reads one workload from the API server. `None`: it does not exist.
pub async fn get(client: &Client, target: &Target) -> Result<Option<Observed>, ReadError> {
    let request = Request::get(path::workload(target)).body(Vec::new());
    let request = request.map_err(kube::Error::HttpError)?;
    let answer = timeout(READ_DEADLINE, client.request::<Workload>(request));
    match answer.await.map_err(|_elapsed| ReadError::Deadline)? {
        Ok(workload) => Ok(Some(workload.into_observed(target.kind())?.1)),
        Err(kube::Error::Api(status)) if status.code == StatusCode::NOT_FOUND => Ok(None),
        Err(error) => Err(error.into()),
    }
}

/// Reads the version of the API server, which by default everyone may read.
pub async fn version(client: &Client) -> Result<(), ReadError> {
    timeout(READ_DEADLINE, client.apiserver_version()).await.map_err(|_elapsed| ReadError::Deadline)??;
    Ok(())
}
