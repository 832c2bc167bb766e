//! Who is let in: over TLS 1.3 with a certificate of ours, speaking HTTP/2, and nobody else.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use replica_count_api::proto::ListDeploymentsRequest;
use replica_count_testbed::Manager;
use replica_count_testbed::manager::Certificates;
use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::{TLS12, TLS13};
use rustls::{AlertDescription, ClientConfig, RootCertStore, SupportedProtocolVersion};
use tokio::io::AsyncReadExt as _;
use tokio::net::TcpStream;
use tokio::time;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use crate::alone::Alone;
use crate::scene::eventually;

/// Reached only by a client that is let in though it should not be.
const PATIENCE: Duration = Duration::from_secs(20);

/// A client of TLS.
#[derive(Clone)]
pub(crate) struct Caller {
    pub(crate) version: &'static SupportedProtocolVersion,
    pub(crate) protocol: &'static str,
    /// Whose certificate it shows.
    pub(crate) name: Option<&'static str>,
}

impl Caller {
    pub(crate) const GOOD: Self = Self { version: &TLS13, protocol: "h2", name: Some("client") };

    /// Connects, trusting `ours` and with a certificate of `theirs`.
    pub(crate) async fn connect(
        &self,
        address: SocketAddr,
        ours: &Certificates,
        theirs: &Certificates,
    ) -> io::Result<TlsStream<TcpStream>> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ours.authority()).unwrap()).unwrap();
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[self.version])
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match self.name {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let certificate = CertificateDer::from_pem_file(theirs.certificate(name)).unwrap();
                let key = PrivateKeyDer::from_pem_file(theirs.key(name)).unwrap();
                builder.with_client_auth_cert(vec![certificate], key).unwrap()
            }
        };
        config.alpn_protocols = vec![self.protocol.into()];
        let stream = TcpStream::connect(address).await?;
        TlsConnector::from(Arc::new(config)).connect("localhost".try_into().unwrap(), stream).await
    }
}

/// A client with a certificate learns only when it reads that it is refused.
async fn alert(connected: io::Result<TlsStream<TcpStream>>) -> Option<AlertDescription> {
    let error = match connected {
        Ok(mut stream) => {
            let mut received = Vec::new();
            let end = time::timeout(PATIENCE, stream.read_to_end(&mut received)).await;
            end.expect("it is refused").err()?
        }
        Err(error) => error,
    };
    match error.get_ref()?.downcast_ref::<rustls::Error>()? {
        rustls::Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

async fn refused(manager: &Manager, reason: &str) -> u64 {
    let start = format!("replica_count_manager_connections_refused_total{{reason=\"{reason}\"}} ");
    let metrics = manager.metrics().await.unwrap();
    metrics.lines().find_map(|line| line.strip_prefix(&start)).unwrap().parse().unwrap()
}

#[tokio::test]
async fn strangers_see_an_alert_and_are_counted() {
    let (alone, abroad) = (Alone::new(), Alone::new());
    let manager = Manager::start(&alone.options(&[])).await.unwrap();
    let ours = manager.certificates();
    let foreign = abroad.options(&[]).certificates().unwrap();
    let good = Caller::GOOD;
    let cases = [
        (
            Caller { name: None, ..good.clone() },
            ours,
            AlertDescription::CertificateRequired,
            "no_client_certificate",
        ),
        (good.clone(), &foreign, AlertDescription::UnknownCA, "untrusted_client_certificate"),
        (
            Caller { name: Some("server"), ..good.clone() },
            ours,
            AlertDescription::UnsupportedCertificate,
            "untrusted_client_certificate",
        ),
        (Caller { version: &TLS12, ..good.clone() }, ours, AlertDescription::ProtocolVersion, "protocol"),
        (
            Caller { protocol: "http/1.1", ..good.clone() },
            ours,
            AlertDescription::NoApplicationProtocol,
            "protocol",
        ),
    ];
    for (caller, theirs, expected, reason) in cases {
        let before = refused(&manager, reason).await;
        let connected = caller.connect(manager.grpc_address(), ours, theirs).await;
        assert_eq!(alert(connected).await, Some(expected), "{reason}");
        eventually("it is counted", async || match refused(&manager, reason).await {
            now if now == before + 1 => Ok(()),
            other => Err(other),
        })
        .await;
    }

    // Kept, as the server reads the certificate after the client thinks that all is done.
    let _connection = good.connect(manager.grpc_address(), ours, ours).await.unwrap();
    let mut client = manager.client().await.unwrap();
    client.list_deployments(ListDeploymentsRequest::default()).await.unwrap();
    eventually("both are counted", async || match manager.metrics().await.unwrap() {
        metrics if metrics.contains("replica_count_manager_connections_total 2\n") => Ok(()),
        metrics => Err(metrics),
    })
    .await;
}
