//! Only clients with TLS 1.3, a trusted certificate and HTTP/2 are accepted.

use std::fs;
use std::time::Duration;

use pem::Pem;
use replica_count_api::proto::ListDeploymentsRequest;
use replica_count_testbed::Manager;
use replica_count_testbed::manager::{self, Certificates, TlsClient};
use rustls::AlertDescription;
use rustls::version::TLS12;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time;
use yasna::{ASN1Result, BERReader};

use crate::fixture::eventually;
use crate::standalone::Standalone;

/// Reached only if a client is accepted that should not be.
const TIMEOUT: Duration = Duration::from_secs(20);

/// Waits for a refusal beyond `before`, and for a line of the log with the reason and `words`.
async fn expect_refusal(manager: &Manager, reason: &str, before: u64, words: &str) {
    eventually("it is counted", async || match refused(manager, reason).await {
        now if now == before + 1 => Ok(()),
        other => Err(other),
    })
    .await;
    let named = format!("\"reason\":\"{reason}\"");
    eventually("it is logged", async || {
        let log = manager.log();
        if log.iter().any(|line| line.contains(&named) && line.contains(words)) { Ok(()) } else { Err(log) }
    })
    .await;
}

async fn refused(manager: &Manager, reason: &str) -> u64 {
    let start = format!("replica_count_manager_connections_refused_total{{reason=\"{reason}\"}} ");
    let metrics = manager.metrics().await.unwrap();
    metrics.lines().find_map(|line| line.strip_prefix(&start)).unwrap().parse().unwrap()
}

/// A client that is refused: its certificate may be one of another authority.
struct Refused {
    client: TlsClient,
    is_foreign: bool,
    alert: AlertDescription,
    reason: &'static str,
    /// Part of the line in the log.
    words: &'static str,
}

const REFUSED: [Refused; 6] = [
    Refused {
        client: TlsClient { name: None, ..TlsClient::GOOD },
        is_foreign: false,
        alert: AlertDescription::CertificateRequired,
        reason: "no_client_certificate",
        words: "sent no certificates; clients of Go",
    },
    Refused {
        client: TlsClient::GOOD,
        is_foreign: true,
        alert: AlertDescription::UnknownCA,
        reason: "untrusted_client_certificate",
        words: "UnknownIssuer",
    },
    Refused {
        client: TlsClient { name: Some("server"), ..TlsClient::GOOD },
        is_foreign: false,
        alert: AlertDescription::UnsupportedCertificate,
        reason: "untrusted_client_certificate",
        words: "does not allow extended key usage for client authentication",
    },
    Refused {
        client: TlsClient { name: Some("old"), ..TlsClient::GOOD },
        is_foreign: false,
        alert: AlertDescription::CertificateUnknown,
        reason: "x509_v1_client_certificate",
        words: "X.509 version 1",
    },
    Refused {
        client: TlsClient { version: &TLS12, ..TlsClient::GOOD },
        is_foreign: false,
        alert: AlertDescription::ProtocolVersion,
        reason: "no_tls_1_3",
        words: "offers no TLS 1.3",
    },
    Refused {
        client: TlsClient { protocol: "http/1.1", ..TlsClient::GOOD },
        is_foreign: false,
        alert: AlertDescription::NoApplicationProtocol,
        reason: "no_http_2",
        words: "offers no HTTP/2",
    },
];

#[tokio::test]
async fn refused_clients_get_an_alert_and_are_named() {
    let (standalone, other) = (Standalone::new(), Standalone::new());
    let manager = Manager::start(&standalone.options(&[])).await.unwrap();
    let ours = manager.certificates();
    let foreign = other.options(&[]).certificates().unwrap();
    write_version_1(ours, "old");
    for Refused { client, is_foreign, alert, reason, words } in REFUSED {
        let before = refused(&manager, reason).await;
        let theirs = if is_foreign { &foreign } else { ours };
        let connected = client.connect(manager.grpc_address(), ours, theirs).await;
        let received = time::timeout(TIMEOUT, manager::alert(connected)).await.expect("it is refused");
        assert_eq!(received, Some(alert), "{reason}");
        expect_refusal(&manager, reason, before, words).await;
    }

    // Kept open, because the client finishes the handshake before the server has read its certificate.
    let _connection = TlsClient::GOOD.connect(manager.grpc_address(), ours, ours).await.unwrap();
    let mut client = manager.client().await.unwrap();
    client.list_deployments(ListDeploymentsRequest::default()).await.unwrap();
    eventually("both are counted", async || match manager.metrics().await.unwrap() {
        metrics if metrics.contains("replica_count_manager_connections_total 2\n") => Ok(()),
        metrics => Err(metrics),
    })
    .await;
}

#[tokio::test]
async fn a_client_that_breaks_off_is_told_from_a_probe() {
    let (standalone, other) = (Standalone::new(), Standalone::new());
    let manager = Manager::start(&standalone.options(&["--log-level", "debug"])).await.unwrap();
    let ours = manager.certificates();
    let foreign = other.options(&[]).certificates().unwrap();

    // Most clients that do not trust the server say so.
    TlsClient::GOOD.connect(manager.grpc_address(), &foreign, ours).await.unwrap_err();
    expect_refusal(&manager, "refused_by_client", 0, "UnknownCA; the client may not trust").await;

    // Those of Python and Node just close the connection.
    let hello = TlsClient::GOOD.hello(ours).unwrap();
    let cases: [(&[u8], &str, u64, &str); 3] = [
        (&hello, "refused_by_client", 1, "eof; the client may not trust"),
        (b"PRI * HTTP/2.0\r\n\r\n", "no_tls", 0, "does not use TLS"),
        (b"", "disconnected", 0, "sent nothing"),
    ];
    for (sent, reason, before, words) in cases {
        let mut stream = TcpStream::connect(manager.grpc_address()).await.unwrap();
        stream.write_all(sent).await.unwrap();
        stream.shutdown().await.unwrap();
        expect_refusal(&manager, reason, before, words).await;
    }
}

/// Creates a certificate like the client's, but of X.509 version 1, which has no extensions. Its signature does not fit,
/// but the version is checked first.
fn write_version_1(certificates: &Certificates, name: &str) {
    const VERSION: u8 = 0xa0;
    const EXTENSIONS: u8 = 0xa3;
    let sequence = |parts: &[Vec<u8>]| {
        yasna::construct_der(|writer| {
            writer.write_sequence(|writer| parts.iter().for_each(|part| writer.next().write_der(part)));
        })
    };
    let client = pem::parse(fs::read(certificates.certificate("client")).unwrap()).unwrap();
    let mut whole = parts(client.contents());
    let mut signed = parts(&whole[0]);
    signed.retain(|field| ![VERSION, EXTENSIONS].contains(&field[0]));
    whole[0] = sequence(&signed);
    let old = Pem::new(client.tag(), sequence(&whole));
    fs::create_dir(certificates.folder().join(name)).unwrap();
    fs::copy(certificates.key("client"), certificates.key(name)).unwrap();
    fs::write(certificates.certificate(name), pem::encode(&old)).unwrap();
}

/// The elements of a sequence in DER.
fn parts(der: &[u8]) -> Vec<Vec<u8>> {
    fn read(part: BERReader<'_, '_>) -> ASN1Result<Vec<u8>> {
        part.read_der()
    }
    yasna::parse_der(der, |reader| reader.collect_sequence_of(read)).unwrap()
}
