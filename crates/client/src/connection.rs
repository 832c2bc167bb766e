//! A connection to a server, and the calls through it.

use replica_count_api::proto::deployments_service_client::DeploymentsServiceClient;
use replica_count_api::proto::deployments_service_server::SERVICE_NAME;
use tonic::Status;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::describe::describe;

/// The longest answer that is accepted, in bytes. The settings file has the same limit, and a setting takes about as
/// much there as its row in an answer, so a list of all settings fits. Lists that may be longer, such as all workloads
/// of a huge cluster, are read in pages. tonic's default is 4 MiB.
pub const MAX_ANSWER: usize = 32 << 20;

/// A client for the RPCs, on a shared connection.
pub type Deployments = DeploymentsServiceClient<Channel>;

/// A connection. Clones share it.
#[derive(Clone, Debug)]
pub struct Connection {
    channel: Channel,
}

/// Why a server is not healthy.
#[derive(Debug, thiserror::Error)]
pub enum HealthError {
    /// The call failed.
    #[error("{}", describe("the health check", .0))]
    Call(Status),
    /// It is not ready to serve.
    #[error("is not ready: its log and /readyz say why")]
    NotReady,
    /// It is another server.
    #[error("does not know the service {SERVICE_NAME}")]
    UnknownService,
}

impl Connection {
    pub(crate) fn new(channel: Channel) -> Self {
        Self { channel }
    }

    /// A client for the RPCs. It accepts answers of up to [`MAX_ANSWER`] bytes.
    pub fn deployments(&self) -> Deployments {
        DeploymentsServiceClient::new(self.channel.clone()).max_decoding_message_size(MAX_ANSWER)
    }

    /// Asks whether the server is ready to serve.
    pub async fn health(&self) -> Result<(), HealthError> {
        let request = HealthCheckRequest { service: SERVICE_NAME.to_owned() };
        let answer = HealthClient::new(self.channel.clone()).check(request).await;
        match answer.map_err(HealthError::Call)?.into_inner().status() {
            ServingStatus::Serving => Ok(()),
            ServingStatus::NotServing => Err(HealthError::NotReady),
            ServingStatus::Unknown | ServingStatus::ServiceUnknown => Err(HealthError::UnknownService),
        }
    }
}
