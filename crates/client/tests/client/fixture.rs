//! A folder of certificates and a server that uses them.

use std::fs;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use replica_count_api::proto::deployments_service_server::{DeploymentsService, DeploymentsServiceServer};
use replica_count_api::proto::{
    DeleteDeploymentRequest, DeleteDeploymentResponse, DeploymentsReplicaConfig, DeploymentsReplicaConfigs,
    GetDeploymentRequest, GetDeploymentResponse, ListDeploymentsRequest, ListEventsRequest,
    ListEventsResponse, SetDeploymentRequest, SetDeploymentResponse, SetEnforcementRequest,
    SetEnforcementResponse, WatchDeploymentsRequest, WatchDeploymentsResponse,
};
use replica_count_client::CredentialFiles;
use tempfile::TempDir;
use tokio::net::TcpListener;
use tokio::task::AbortHandle;
use tonic::codegen::BoxStream;
use tonic::transport::server::TcpIncoming;
use tonic::transport::{Certificate, Identity, Server, ServerTlsConfig};
use tonic::{Request, Response, Status, async_trait};
use tonic_health::ServingStatus;

/// `ca.crt`, and the pairs that it signed: `server` and `client`.
pub(crate) struct Certificates(TempDir);

impl Certificates {
    pub(crate) fn new() -> Self {
        let this = Self(TempDir::new().unwrap());
        let mut params = CertificateParams::default();
        params.distinguished_name.push(DnType::CommonName, "CA of a test");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        this.write("ca.crt", params.self_signed(&key).unwrap().pem());
        let issuer = Issuer::new(params, key);
        for (name, host) in [("server", "localhost"), ("client", "client")] {
            let key = KeyPair::generate().unwrap();
            let params = CertificateParams::new([host.to_owned()]).unwrap();
            this.write(&format!("{name}.crt"), params.signed_by(&key, &issuer).unwrap().pem());
            this.write(&format!("{name}.key"), key.serialize_pem());
        }
        this
    }

    pub(crate) fn folder(&self) -> &Path {
        self.0.path()
    }

    pub(crate) fn path(&self, file: &str) -> PathBuf {
        self.folder().join(file)
    }

    pub(crate) fn read(&self, file: &str) -> String {
        fs::read_to_string(self.path(file)).unwrap()
    }

    pub(crate) fn write(&self, file: &str, text: impl AsRef<[u8]>) {
        fs::write(self.path(file), text).unwrap();
    }

    /// The files of the client.
    pub(crate) fn files(&self) -> CredentialFiles {
        CredentialFiles {
            authority: self.path("ca.crt"),
            certificate: self.path("client.crt"),
            key: self.path("client.key"),
        }
    }
}

/// A server that only lists. It ends when it is dropped.
pub(crate) struct ListServer {
    pub(crate) address: SocketAddr,
    serving: AbortHandle,
}

impl ListServer {
    /// Starts a server with these rows, and with this health unless it does not know the service.
    pub(crate) async fn start(
        certificates: &Certificates,
        rows: Vec<DeploymentsReplicaConfig>,
        health: Option<ServingStatus>,
    ) -> Self {
        let (reporter, health_service) = tonic_health::server::health_reporter();
        if let Some(status) = health {
            reporter.set_service_status("proto.DeploymentsService", status).await;
        }
        let pair = Identity::from_pem(certificates.read("server.crt"), certificates.read("server.key"));
        let authority = Certificate::from_pem(certificates.read("ca.crt"));
        let serving = Server::builder()
            .tls_config(ServerTlsConfig::new().identity(pair).client_ca_root(authority))
            .unwrap()
            .add_service(DeploymentsServiceServer::new(List(rows)))
            .add_service(health_service);
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let serving = serving.serve_with_incoming(TcpIncoming::from(listener));
        Self { address, serving: tokio::spawn(serving).abort_handle() }
    }
}

impl Drop for ListServer {
    fn drop(&mut self) {
        self.serving.abort();
    }
}

struct List(Vec<DeploymentsReplicaConfig>);

#[async_trait]
impl DeploymentsService for List {
    type WatchDeploymentsStream = BoxStream<WatchDeploymentsResponse>;

    /// A page token is the number of its first row.
    async fn list_deployments(
        &self,
        request: Request<ListDeploymentsRequest>,
    ) -> Result<Response<DeploymentsReplicaConfigs>, Status> {
        let request = request.into_inner();
        let first = request.page_token.parse().unwrap_or(0);
        let rows =
            self.0.iter().filter(|row| request.namespace.is_empty() || row.namespace == request.namespace);
        let mut rows = rows.skip(first).cloned().peekable();
        let size = usize::try_from(request.page_size).unwrap();
        let page: Vec<_> = rows.by_ref().take(if size == 0 { usize::MAX } else { size }).collect();
        let next = rows.peek().map(|_| (first + page.len()).to_string());
        Ok(Response::new(DeploymentsReplicaConfigs {
            deployments_replica_config: page,
            next_page_token: next.unwrap_or_default(),
            observed_age: None,
        }))
    }

    async fn get_deployment(
        &self,
        _: Request<GetDeploymentRequest>,
    ) -> Result<Response<GetDeploymentResponse>, Status> {
        Err(Status::unimplemented("it only lists"))
    }

    async fn set_deployment(
        &self,
        _: Request<SetDeploymentRequest>,
    ) -> Result<Response<SetDeploymentResponse>, Status> {
        Err(Status::unimplemented("it only lists"))
    }

    async fn delete_deployment(
        &self,
        _: Request<DeleteDeploymentRequest>,
    ) -> Result<Response<DeleteDeploymentResponse>, Status> {
        Err(Status::unimplemented("it only lists"))
    }

    async fn set_enforcement(
        &self,
        _: Request<SetEnforcementRequest>,
    ) -> Result<Response<SetEnforcementResponse>, Status> {
        Err(Status::unimplemented("it only lists"))
    }

    async fn list_events(
        &self,
        _: Request<ListEventsRequest>,
    ) -> Result<Response<ListEventsResponse>, Status> {
        Err(Status::unimplemented("it only lists"))
    }

    async fn watch_deployments(
        &self,
        _: Request<WatchDeploymentsRequest>,
    ) -> Result<Response<Self::WatchDeploymentsStream>, Status> {
        Err(Status::unimplemented("it only lists"))
    }
}
