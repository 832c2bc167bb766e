//! The physical limit: a tonic server that always gives the same answers from memory.
//!
//! It has the TLS and HTTP/2 settings of the real server and nothing else: it authorises, looks up, counts and limits
//! nothing, and discards every Set.

use std::io::{BufRead as _, BufReader};
use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::{Child, Stdio};
use std::{env, fs, iter};

use anyhow::{Context as _, Result};
use futures_util::stream;
use prost::Message;
use replica_count_api::proto::deployments_service_server::{DeploymentsService, DeploymentsServiceServer};
use replica_count_api::proto::{
    DeleteDeploymentRequest, DeleteDeploymentResponse, DeploymentsReplicaConfigs, GetDeploymentRequest,
    GetDeploymentResponse, ListDeploymentsRequest, ListEventsRequest, ListEventsResponse,
    SetDeploymentRequest, SetDeploymentResponse, SetEnforcementRequest, SetEnforcementResponse,
    WatchDeploymentsRequest, WatchDeploymentsResponse,
};
use replica_count_manager::net::tls::{self, AuthorityFile, TlsFiles};
use replica_count_manager::rpc::port;
use replica_count_testbed::manager::Certificates;
use replica_count_testbed::{parent_death, workspace};
use tokio::net::{TcpListener, TcpStream};
use tokio::runtime::Runtime;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tonic::codegen::BoxStream;
use tonic::{Request, Response, Status, async_trait};

use crate::arguments;
use crate::output::say;

/// The fixed answers.
#[derive(Clone, Debug, Default)]
pub(super) struct Answers {
    pub(super) get: GetDeploymentResponse,
    pub(super) list: DeploymentsReplicaConfigs,
    pub(super) set: SetDeploymentResponse,
}

impl Answers {
    /// The counts in the answers: those of Get, and of each row of List.
    pub(super) fn counts(&self) -> Vec<(&str, Option<i32>, Option<i32>)> {
        let one = (self.get.name.as_str(), self.get.desired_replicas, self.get.current_replicas);
        let rows = &self.list.deployments_replica_config;
        let rows = rows.iter().map(|row| (row.name.as_str(), row.replicas, row.current_replicas));
        iter::once(one).chain(rows).collect()
    }
}

/// The server process. It is killed on drop.
#[derive(Debug)]
pub(super) struct BareServer {
    child: Child,
    address: SocketAddr,
}

impl BareServer {
    /// Starts it. It reads its answers from `folder`.
    pub(super) fn start(certificates: &Certificates, answers: &Answers, folder: &Path) -> Result<Self> {
        answers.write(folder)?;
        let testbed = workspace::built_binary("testbed", "replica-count-testbed")?;
        let program = env::current_exe().context("the path of this program is unknown")?;
        let mut command = parent_death::command(&testbed, &program);
        command
            .arg("bare-server")
            .arg("--cert-file")
            .arg(certificates.certificate("server"))
            .arg("--key-file")
            .arg(certificates.key("server"))
            .arg("--ca-cert-file")
            .arg(certificates.authority())
            .arg("--answers")
            .arg(folder)
            .stdin(Stdio::null())
            .stdout(Stdio::piped());
        let mut child = parent_death::spawn(command).context("cannot start the bare server")?;
        let mut line = String::new();
        let stdout = child.stdout.take().context("the bare server has no output")?;
        BufReader::new(stdout).read_line(&mut line)?;
        let address = line.trim().parse().with_context(|| format!("the bare server printed {line:?}"))?;
        Ok(Self { child, address })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    pub(super) fn pid(&self) -> u32 {
        self.child.id()
    }
}

impl Drop for BareServer {
    fn drop(&mut self) {
        // Fails only if it has already ended.
        let _ = self.child.kill().and_then(|()| self.child.wait());
    }
}

impl Answers {
    const FILES: [&str; 3] = ["get", "list", "set"];

    fn write(&self, folder: &Path) -> Result<()> {
        let messages = [self.get.encode_to_vec(), self.list.encode_to_vec(), self.set.encode_to_vec()];
        for (name, message) in Self::FILES.into_iter().zip(messages) {
            fs::write(folder.join(name), message)?;
        }
        Ok(())
    }

    fn read(folder: &Path) -> Result<Self> {
        let [get, list, set] = Self::FILES.map(|name| fs::read(folder.join(name)));
        Ok(Self {
            get: Message::decode(&*get?)?,
            list: Message::decode(&*list?)?,
            set: Message::decode(&*set?)?,
        })
    }
}

/// Runs as the server. Prints its address on stdout.
pub(crate) fn run(arguments: &arguments::BareServer) -> Result<()> {
    let arguments::BareServer { cert_file, key_file, ca_cert_file, answers } = arguments;
    let files = TlsFiles {
        cert: cert_file.clone(),
        key: key_file.clone(),
        ca: AuthorityFile::OfBoth(ca_cert_file.clone()),
    };
    let acceptor = TlsAcceptor::from(tls::load(&files)?.server());
    let service = DeploymentsServiceServer::new(Answers::read(answers)?);
    Runtime::new()?.block_on(async {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        say(&listener.local_addr()?.to_string());
        let incoming = stream::try_unfold((listener, acceptor), async |(listener, acceptor)| {
            let connection = accept(&listener, &acceptor).await?;
            Ok::<_, std::io::Error>(Some((connection, (listener, acceptor))))
        });
        port::transport().add_service(service).serve_with_incoming(Box::pin(incoming)).await?;
        Ok(())
    })
}

/// Accepts connections sequentially, because its only client connects before the measurement.
async fn accept(listener: &TcpListener, acceptor: &TlsAcceptor) -> std::io::Result<TlsStream<TcpStream>> {
    let (stream, _) = listener.accept().await?;
    stream.set_nodelay(true)?;
    acceptor.accept(stream).await
}

#[async_trait]
impl DeploymentsService for Answers {
    type WatchDeploymentsStream = BoxStream<WatchDeploymentsResponse>;

    async fn get_deployment(
        &self,
        _: Request<GetDeploymentRequest>,
    ) -> Result<Response<GetDeploymentResponse>, Status> {
        Ok(Response::new(self.get.clone()))
    }

    async fn list_deployments(
        &self,
        _: Request<ListDeploymentsRequest>,
    ) -> Result<Response<DeploymentsReplicaConfigs>, Status> {
        Ok(Response::new(self.list.clone()))
    }

    async fn set_deployment(
        &self,
        _: Request<SetDeploymentRequest>,
    ) -> Result<Response<SetDeploymentResponse>, Status> {
        Ok(Response::new(self.set.clone()))
    }

    async fn delete_deployment(
        &self,
        _: Request<DeleteDeploymentRequest>,
    ) -> Result<Response<DeleteDeploymentResponse>, Status> {
        Err(Status::unimplemented("the bare server has fixed answers only"))
    }

    async fn set_enforcement(
        &self,
        _: Request<SetEnforcementRequest>,
    ) -> Result<Response<SetEnforcementResponse>, Status> {
        Err(Status::unimplemented("the bare server has fixed answers only"))
    }

    async fn list_events(
        &self,
        _: Request<ListEventsRequest>,
    ) -> Result<Response<ListEventsResponse>, Status> {
        Err(Status::unimplemented("the bare server has fixed answers only"))
    }

    async fn watch_deployments(
        &self,
        _: Request<WatchDeploymentsRequest>,
    ) -> Result<Response<Self::WatchDeploymentsStream>, Status> {
        Err(Status::unimplemented("the bare server has fixed answers only"))
    }
}
