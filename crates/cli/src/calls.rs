//! The calls of the API, with errors that tell what to do next.

mod listing;
mod refusal;
mod similar;

use std::time::Duration;

use replica_count_api::proto::{
    DeleteDeploymentRequest, DeleteDeploymentResponse, GetDeploymentRequest, GetDeploymentResponse, Kind,
    ListDeploymentsRequest, ListEventsRequest, ListEventsResponse, SetDeploymentRequest,
    SetDeploymentResponse, SetEnforcementRequest, SetEnforcementResponse, WatchDeploymentsRequest,
    WatchDeploymentsResponse,
};
use tokio::time;
use tonic::{Code, Status, Streaming};
use tonic_types::StatusExt as _;

use crate::connect::Session;
use crate::failure::Failure;
use crate::target::Target;
pub use listing::{answer, list};
pub use refusal::reason;

/// How often a call is repeated that the server was too busy for.
const ATTEMPTS: u32 = 5;
/// The pause before that, if the server names none. It doubles each time.
const PAUSE: Duration = Duration::from_millis(100);

/// Why a server refuses to list unmanaged workloads of a kind that it does not manage.
pub const KIND_NOT_MANAGED: &str = "KIND_NOT_MANAGED";

/// Both kinds, so that lists have all that is managed.
pub const ALL_KINDS: [Kind; 2] = [Kind::Deployment, Kind::StatefulSet];

/// The calls of one session. Clones share its connection.
#[derive(Clone, Debug)]
pub struct Calls {
    session: Session,
}

impl Calls {
    /// The calls of a session.
    pub fn new(session: Session) -> Self {
        Self { session }
    }

    /// The session.
    pub fn session(&self) -> &Session {
        &self.session
    }

    /// Explains why a call failed.
    pub fn explain(&self, call: &str, status: &Status) -> Failure {
        refusal::explain(&self.session, call, status)
    }

    /// GetDeployment.
    pub async fn get(&self, request: GetDeploymentRequest) -> Result<GetDeploymentResponse, Status> {
        self.patiently(async || self.session.connection.deployments().get_deployment(request.clone()).await)
            .await
    }

    /// One workload, by its name.
    pub async fn one(&self, namespace: &str, target: &Target) -> Result<GetDeploymentResponse, Failure> {
        let request = GetDeploymentRequest {
            name: target.name.clone(),
            namespace: namespace.to_owned(),
            kind: target.kind.into(),
            ..GetDeploymentRequest::default()
        };
        self.get(request).await.map_err(|status| self.explain("GetDeployment", &status))
    }

    /// SetDeployment.
    pub async fn set(&self, request: SetDeploymentRequest) -> Result<SetDeploymentResponse, Status> {
        self.patiently(async || self.session.connection.deployments().set_deployment(request.clone()).await)
            .await
    }

    /// DeleteDeployment.
    pub async fn delete(&self, request: DeleteDeploymentRequest) -> Result<DeleteDeploymentResponse, Status> {
        self.patiently(async || {
            self.session.connection.deployments().delete_deployment(request.clone()).await
        })
        .await
    }

    /// SetEnforcement.
    pub async fn enforce(&self, request: SetEnforcementRequest) -> Result<SetEnforcementResponse, Status> {
        self.patiently(async || self.session.connection.deployments().set_enforcement(request.clone()).await)
            .await
    }

    /// One page of ListEvents.
    pub async fn list_events(&self, request: ListEventsRequest) -> Result<ListEventsResponse, Status> {
        self.patiently(async || self.session.connection.deployments().list_events(request.clone()).await)
            .await
    }

    /// WatchDeployments.
    pub async fn watch(
        &self,
        request: WatchDeploymentsRequest,
    ) -> Result<Streaming<WatchDeploymentsResponse>, Status> {
        let stream = self.session.connection.deployments().watch_deployments(request).await?;
        Ok(stream.into_inner())
    }

    /// All rows of ListDeployments, with the fields that rows have, of those of the kinds that the server manages.
    pub async fn list(&self, request: ListDeploymentsRequest) -> Result<Vec<GetDeploymentResponse>, Status> {
        list(&self.session.connection, request, &[KIND_NOT_MANAGED]).await
    }

    /// Repeats a call for which the server says that it has no room now, and which has changed nothing.
    async fn patiently<T>(
        &self,
        mut call: impl AsyncFnMut() -> Result<tonic::Response<T>, Status>,
    ) -> Result<T, Status> {
        let mut attempt = 1;
        loop {
            match call().await {
                Err(status) if attempt < ATTEMPTS && is_busy(&status) => {
                    time::sleep(PAUSE * 2_u32.pow(attempt)).await;
                    attempt += 1;
                }
                outcome => return outcome.map(tonic::Response::into_inner),
            }
        }
    }
}

/// Whether the same call may succeed in a moment, and has changed nothing.
fn is_busy(status: &Status) -> bool {
    match status.code() {
        Code::ResourceExhausted | Code::Unavailable => status.get_details_error_info().is_some_and(|info| {
            matches!(
                info.reason.as_str(),
                "TOO_MANY_REQUESTS"
                    | "TOO_MANY_ANSWERS"
                    | "STORE_BUSY"
                    | "CLUSTER_NOT_READ"
                    | "STORE_NOT_READ"
            )
        }),
        _ => false,
    }
}
