//! Who is let in: over TLS 1.3 with a certificate of ours, speaking HTTP/2, and nobody else.

use std::time::Duration;

use replica_count_api::proto::ListDeploymentsRequest;
use replica_count_testbed::Manager;
use replica_count_testbed::manager::{self, Caller};
use rustls::AlertDescription;
use rustls::version::TLS12;
use tokio::time;

use crate::alone::Alone;
use crate::scene::eventually;

/// Reached only by a client that is let in though it should not be.
const PATIENCE: Duration = Duration::from_secs(20);

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
        let alert = time::timeout(PATIENCE, manager::alert(connected)).await.expect("it is refused");
        assert_eq!(alert, Some(expected), "{reason}");
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
