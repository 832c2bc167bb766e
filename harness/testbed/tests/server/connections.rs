//! Only clients with TLS 1.3, a trusted certificate and HTTP/2 are accepted.

use std::time::Duration;

use replica_count_api::proto::ListDeploymentsRequest;
use replica_count_testbed::Manager;
use replica_count_testbed::manager::{self, TlsClient};
use rustls::AlertDescription;
use rustls::version::TLS12;
use tokio::time;

use crate::fixture::eventually;
use crate::standalone::Standalone;

/// Reached only if a client is accepted that should not be.
const TIMEOUT: Duration = Duration::from_secs(20);

async fn refused(manager: &Manager, reason: &str) -> u64 {
    let start = format!("replica_count_manager_connections_refused_total{{reason=\"{reason}\"}} ");
    let metrics = manager.metrics().await.unwrap();
    metrics.lines().find_map(|line| line.strip_prefix(&start)).unwrap().parse().unwrap()
}

#[tokio::test]
async fn refused_clients_get_an_alert_and_are_counted() {
    let (standalone, other) = (Standalone::new(), Standalone::new());
    let manager = Manager::start(&standalone.options(&[])).await.unwrap();
    let ours = manager.certificates();
    let foreign = other.options(&[]).certificates().unwrap();
    let good = TlsClient::GOOD;
    let cases = [
        (
            TlsClient { name: None, ..good.clone() },
            ours,
            AlertDescription::CertificateRequired,
            "no_client_certificate",
        ),
        (good.clone(), &foreign, AlertDescription::UnknownCA, "untrusted_client_certificate"),
        (
            TlsClient { name: Some("server"), ..good.clone() },
            ours,
            AlertDescription::UnsupportedCertificate,
            "untrusted_client_certificate",
        ),
        (TlsClient { version: &TLS12, ..good.clone() }, ours, AlertDescription::ProtocolVersion, "protocol"),
        (
            TlsClient { protocol: "http/1.1", ..good.clone() },
            ours,
            AlertDescription::NoApplicationProtocol,
            "protocol",
        ),
    ];
    for (client_options, theirs, expected, reason) in cases {
        let before = refused(&manager, reason).await;
        let connected = client_options.connect(manager.grpc_address(), ours, theirs).await;
        let alert = time::timeout(TIMEOUT, manager::alert(connected)).await.expect("it is refused");
        assert_eq!(alert, Some(expected), "{reason}");
        eventually("it is counted", async || match refused(&manager, reason).await {
            now if now == before + 1 => Ok(()),
            other => Err(other),
        })
        .await;
    }

    // Kept open, because the client finishes the handshake before the server has read its certificate.
    let _connection = good.connect(manager.grpc_address(), ours, ours).await.unwrap();
    let mut client = manager.client().await.unwrap();
    client.list_deployments(ListDeploymentsRequest::default()).await.unwrap();
    eventually("both are counted", async || match manager.metrics().await.unwrap() {
        metrics if metrics.contains("replica_count_manager_connections_total 2\n") => Ok(()),
        metrics => Err(metrics),
    })
    .await;
}
