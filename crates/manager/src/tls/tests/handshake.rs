//! Clients of every kind against the acceptor.

use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use prometheus_client::registry::Registry;
use rustls::{AlertDescription, ClientConfig};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_util::sync::CancellationToken;

use super::fixture::Certificates;
use crate::tls::acceptor::{AcceptLimits, accept};
use crate::tls::metrics::ConnectionMetrics;
use crate::tls::{Connection, load};

/// No test waits longer for anything; reached only when one fails.
const PATIENCE: Duration = Duration::from_secs(20);

/// An acceptor whose connections are kept until the test takes them.
struct Server {
    address: SocketAddr,
    connections: mpsc::UnboundedReceiver<Connection>,
    registry: Registry,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(certificates: &Certificates, limits: AcceptLimits) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let metrics = ConnectionMetrics::default();
        let mut registry = Registry::with_prefix("replica_count_manager");
        metrics.register(&mut registry);
        let shutdown = CancellationToken::new();
        let config = load(&certificates.server()).unwrap();
        let incoming = accept(listener, config, limits, metrics, shutdown.clone());
        let (sender, connections) = mpsc::unbounded_channel();
        let task = tokio::spawn(async move {
            let mut incoming = pin!(incoming);
            while let Some(connection) = incoming.next().await {
                sender.send(connection.unwrap()).unwrap();
            }
        });
        Self { address, connections, registry, shutdown, task }
    }

    async fn next(&mut self) -> Connection {
        let connection = tokio::time::timeout(PATIENCE, self.connections.recv()).await;
        connection.expect("a connection in time").expect("the acceptor goes on")
    }

    /// A line of the metrics, such as `connections_open 1`.
    fn shows(&self, line: &str) -> bool {
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &self.registry).unwrap();
        text.lines().any(|shown| shown == format!("replica_count_manager_{line}"))
    }

    async fn wait_for(&self, line: &str) {
        let shown = async {
            while !self.shows(line) {
                tokio::time::sleep(Duration::from_millis(2)).await;
            }
        };
        tokio::time::timeout(PATIENCE, shown).await.unwrap_or_else(|_| panic!("no metric `{line}`"));
    }

    async fn wait_for_refusal(&self, reason: &str) {
        self.wait_for(&format!("connections_refused_total{{reason=\"{reason}\"}} 1")).await;
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.task.abort();
    }
}

async fn connect(address: SocketAddr, config: Arc<ClientConfig>) -> io::Result<TlsStream<TcpStream>> {
    let stream = TcpStream::connect(address).await?;
    TlsConnector::from(config).connect("localhost".try_into().unwrap(), stream).await
}

/// How the connection ends for the client: in TLS 1.3 it learns only when it reads that its certificate was refused.
async fn end(address: SocketAddr, config: Arc<ClientConfig>) -> io::Error {
    let ended = async { connect(address, config).await?.read_u8().await };
    tokio::time::timeout(PATIENCE, ended).await.expect("an end in time").expect_err("no data")
}

fn alert(error: &io::Error) -> Option<AlertDescription> {
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

#[tokio::test]
async fn a_good_client_gets_through_with_its_name() {
    let certificates = Certificates::new();
    certificates.client("alice", 0);
    let mut server = Server::start(&certificates, AcceptLimits::default()).await;
    let mut client = connect(server.address, certificates.client_config(Some("alice"))).await.unwrap();
    let mut connection = server.next().await;
    assert_eq!(connection.peer().identity.user, "alice");
    assert_eq!(connection.peer().identity.groups, ["ops", "dev"]);
    assert_eq!(connection.peer().address, client.get_ref().0.local_addr().unwrap());
    assert_eq!(client.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));

    client.write_all(b"ping").await.unwrap();
    let mut received = [0; 4];
    connection.read_exact(&mut received).await.unwrap();
    connection.write_all(b"pong").await.unwrap();
    connection.flush().await.unwrap();
    let mut answered = [0; 4];
    client.read_exact(&mut answered).await.unwrap();
    assert_eq!((&received, &answered), (b"ping", b"pong"));

    assert!(server.shows("connections_open 1"));
    drop(connection);
    assert!(server.shows("connections_open 0"));
    assert!(server.shows("connections_total 1"));
}

#[tokio::test]
async fn a_client_that_is_not_known_sees_an_alert_and_is_counted() {
    let certificates = Certificates::new();
    let foreign = Certificates::new();
    certificates.client("old", -366);
    certificates.client("early", 1);
    let check = async |client: Arc<ClientConfig>, expected: AlertDescription, reason: &str| {
        let server = Server::start(&certificates, AcceptLimits::default()).await;
        assert_eq!(alert(&end(server.address, client).await), Some(expected), "{reason}");
        server.wait_for_refusal(reason).await;
        assert!(server.shows("connections_total 0"));
    };
    let mixed = {
        let mut config = ClientConfig::clone(&certificates.client_config(None));
        config.client_auth_cert_resolver =
            Arc::clone(&foreign.client_config(Some("client")).client_auth_cert_resolver);
        Arc::new(config)
    };
    let server_as_client = certificates.client_config(Some("server"));
    let tls12 = certificates.client_config_of(Some("client"), &rustls::version::TLS12);
    let config = |name| certificates.client_config(name);
    check(config(None), AlertDescription::CertificateRequired, "no_client_certificate").await;
    check(mixed, AlertDescription::UnknownCA, "untrusted_client_certificate").await;
    check(server_as_client, AlertDescription::UnsupportedCertificate, "untrusted_client_certificate").await;
    check(config(Some("old")), AlertDescription::CertificateExpired, "expired_client_certificate").await;
    check(config(Some("early")), AlertDescription::CertificateExpired, "future_client_certificate").await;
    check(tls12, AlertDescription::ProtocolVersion, "protocol").await;
}

#[tokio::test]
async fn a_client_without_a_name_is_closed() {
    let certificates = Certificates::new();
    certificates.nameless_client("nobody");
    let server = Server::start(&certificates, AcceptLimits::default()).await;
    let error = end(server.address, certificates.client_config(Some("nobody"))).await;
    assert_eq!(error.kind(), io::ErrorKind::UnexpectedEof, "{error}");
    server.wait_for_refusal("no_identity").await;
}

#[tokio::test]
async fn a_client_that_does_not_trust_the_server_is_counted() {
    let (certificates, foreign) = (Certificates::new(), Certificates::new());
    let server = Server::start(&certificates, AcceptLimits::default()).await;
    end(server.address, foreign.client_config(Some("client"))).await;
    server.wait_for_refusal("refused_by_client").await;
}

#[tokio::test]
async fn what_is_not_tls_is_counted() {
    let certificates = Certificates::new();
    let check = async |sent: &[u8], reason: &str| {
        let server = Server::start(&certificates, AcceptLimits::default()).await;
        let mut stream = TcpStream::connect(server.address).await.unwrap();
        stream.write_all(sent).await.unwrap();
        stream.shutdown().await.unwrap();
        server.wait_for_refusal(reason).await;
    };
    check(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n", "protocol").await;
    check(b"", "disconnected").await;
}

#[tokio::test]
async fn a_slow_handshake_times_out() {
    let certificates = Certificates::new();
    let limits = AcceptLimits { handshake_timeout: Duration::from_millis(20), ..AcceptLimits::default() };
    let server = Server::start(&certificates, limits).await;
    let mut stream = TcpStream::connect(server.address).await.unwrap();
    assert_eq!(stream.read(&mut [0; 1]).await.unwrap(), 0);
    server.wait_for_refusal("timeout").await;
}

#[tokio::test]
async fn a_place_is_free_again_when_its_connection_ends() {
    let certificates = Certificates::new();
    let client = certificates.client_config(Some("client"));
    let limits = AcceptLimits { max_connections: 1, ..AcceptLimits::default() };
    let mut server = Server::start(&certificates, limits).await;
    let _first = connect(server.address, Arc::clone(&client)).await.unwrap();
    let connection = server.next().await;
    end(server.address, Arc::clone(&client)).await;
    server.wait_for_refusal("too_many_connections").await;

    drop(connection);
    let _second = connect(server.address, client).await.unwrap();
    server.next().await;
}

#[tokio::test]
async fn strangers_cannot_take_all_places() {
    let certificates = Certificates::new();
    let client = certificates.client_config(Some("client"));
    let limits = AcceptLimits { max_handshakes: 1, ..AcceptLimits::default() };
    let mut server = Server::start(&certificates, limits).await;
    let stranger = TcpStream::connect(server.address).await.unwrap();
    end(server.address, Arc::clone(&client)).await;
    server.wait_for_refusal("too_many_handshakes").await;

    drop(stranger);
    server.wait_for_refusal("disconnected").await;
    let _client = connect(server.address, client).await.unwrap();
    server.next().await;
}

#[tokio::test]
async fn shutdown_closes_the_listener_and_keeps_connections() {
    let certificates = Certificates::new();
    let client = certificates.client_config(Some("client"));
    let mut server = Server::start(&certificates, AcceptLimits::default()).await;
    let mut open = connect(server.address, client).await.unwrap();
    let mut connection = server.next().await;
    let mut in_handshake = TcpStream::connect(server.address).await.unwrap();

    server.shutdown.cancel();
    assert!(server.connections.recv().await.is_none(), "the stream ends");
    assert_eq!(
        TcpStream::connect(server.address).await.unwrap_err().kind(),
        io::ErrorKind::ConnectionRefused
    );
    // Accepted or still queued, it does not go on.
    assert!(matches!(in_handshake.read(&mut [0; 1]).await, Ok(0) | Err(_)));
    connection.write_all(b"bye").await.unwrap();
    connection.flush().await.unwrap();
    let mut received = [0; 3];
    open.read_exact(&mut received).await.unwrap();
    assert_eq!(&received, b"bye");
}
