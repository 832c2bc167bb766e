//! An acceptor and clients that connect to it.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use prometheus_client::registry::Registry;
use rustls::{AlertDescription, ClientConfig};
use tokio::io::AsyncReadExt;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use super::fixture::Certificates;
use crate::net::tls::acceptor::{AcceptLimits, accept};
use crate::net::tls::metrics::{CertificateMetrics, ConnectionMetrics};
use crate::net::tls::reload::Reload;
use crate::net::tls::{Connection, TlsFiles, load};

/// No test waits longer for anything. Only reached if a test fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// An acceptor that keeps its connections until the test takes them.
pub(super) struct Server {
    pub(super) address: SocketAddr,
    pub(super) connections: mpsc::UnboundedReceiver<Connection>,
    pub(super) files: TlsFiles,
    pub(super) reload: Reload,
    registry: Registry,
    pub(super) shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    pub(super) async fn start(certificates: &Certificates, limits: AcceptLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = ConnectionMetrics::default();
        let mut registry = Registry::with_prefix("replica_count_manager");
        metrics.register(&mut registry);
        let shutdown = CancellationToken::new();
        let (files, certificate_metrics) = (certificates.server(), CertificateMetrics::default());
        certificate_metrics.register(&mut registry);
        let reload = Reload::new(files.clone(), load(&files).unwrap(), certificate_metrics);
        let incoming = accept(listener, reload.current(), limits, metrics, shutdown.clone());
        let (sender, connections) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let mut incoming = pin!(incoming);
            while let Some(connection) = incoming.next().await {
                sender.send(connection.unwrap()).unwrap();
            }
        });
        Self { address, connections, files, reload, registry, shutdown, task }
    }

    pub(super) async fn next(&mut self) -> Connection {
        let connection = tokio::time::timeout(PATIENCE, self.connections.recv()).await;
        connection.expect("a connection in time").expect("the acceptor is running")
    }

    /// Whether the metrics contain a line, such as `connections_open 1`.
    pub(super) fn shows(&self, line: &str) -> bool {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text.lines().any(|shown| shown == format!("replica_count_manager_{line}"))
    }

    pub(super) async fn wait_for(&self, line: &str) {
        let shown = async {
            while !self.shows(line) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, shown).await.unwrap_or_else(|_| panic!("no metric `{line}`"));
    }

    pub(super) async fn wait_for_refusal(&self, reason: &str) {
        self.wait_for(&format!("connections_refused_total{{reason=\"{reason}\"}} 1")).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

pub(super) async fn connect(
    address: SocketAddr,
    config: Arc<ClientConfig>,
) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(config).connect("localhost".try_into().unwrap(), stream).await
}

/// The error with which a connection ends for the client. In TLS 1.3, it learns only when it reads that its certificate
/// was refused.
pub(super) async fn end(address: SocketAddr, config: Arc<ClientConfig>) -> io::Error {
    let ended = async { connect(address, config).await?.read_u8().await };
    tokio::time::timeout(PATIENCE, ended).await.expect("an end in time").expect_err("no data")
}

pub(super) fn alert(error: &io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}
