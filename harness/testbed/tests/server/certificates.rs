//! Certificates change while the server runs, swapped as in a mounted Kubernetes secret.

use std::fs;
use std::time::Duration;

use replica_count_testbed::Manager;
use replica_count_testbed::frames::{self, DATA, HEALTH_WATCH, PING};
use replica_count_testbed::manager::{Certificates, Mount, Secret, TlsClient, alert};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::client::TlsStream;

use crate::fixture;
use crate::standalone::Standalone;

/// How long a client may stay connected after its authority is no longer trusted.
const SOON: Duration = Duration::from_secs(10);

/// A connection with an open stream.
struct Watcher(TlsStream<TcpStream>);

impl Watcher {
    async fn new(manager: &Manager, certificates: &Certificates) -> Self {
        Self::trusting(manager, certificates, certificates).await
    }

    /// With a certificate of `theirs`, and trusting the authority of `ours`.
    async fn trusting(manager: &Manager, ours: &Certificates, theirs: &Certificates) -> Self {
        let mut stream = TlsClient::GOOD.connect(manager.grpc_address(), ours, theirs).await.unwrap();
        stream.write_all(&frames::preface(&[])).await.unwrap();
        stream.write_all(&frames::whole_call(1, HEALTH_WATCH)).await.unwrap();
        while frames::receive(&mut stream).await.unwrap().kind != DATA {}
        Self(stream)
    }

    /// Checks that the connection and its stream are still open.
    async fn check_open(&mut self) {
        self.0.write_all(&frames::ping()).await.unwrap();
        loop {
            let received = frames::receive(&mut self.0).await.unwrap();
            assert_ne!(received.stream, 1, "{received:?}");
            if received.kind == PING {
                return;
            }
        }
    }

    async fn wait_until_closed(&mut self) {
        let closed = async { while frames::receive(&mut self.0).await.is_ok() {} };
        timeout(SOON, closed).await.expect("closed soon");
    }
}

/// Waits until the metrics contain a line, which must be soon.
async fn wait_for_metric(manager: &Manager, line: &str) {
    let started = Instant::now();
    fixture::wait_for_metric(manager, line).await;
    assert!(started.elapsed() < SOON, "{line}: {:?}", started.elapsed());
}

#[tokio::test]
async fn certificates_change_under_a_running_server() {
    let (standalone, other) = (Standalone::new(), Standalone::new());
    let old = standalone.options(&[]).certificates().unwrap();
    let new = other.options(&[]).certificates().unwrap();
    let (old_files, new_files) = (Secret::of(&old).unwrap(), Secret::of(&new).unwrap());
    let mut mount = Mount::new(&standalone.path("mount"), &old_files).unwrap();
    let manager = Manager::start(&mount.used_by(standalone.options(&[]))).await.unwrap();
    let mut before = Watcher::new(&manager, &old).await;

    // The usual rotation of an authority: both are trusted for a while.
    let authorities = old_files.authorities + &new_files.authorities;
    mount.swap(&Secret { authorities, ..new_files.clone() }).unwrap();
    wait_for_metric(&manager, "certificate_reloads_total 1").await;
    let mut after = Watcher::new(&manager, &new).await;
    before.check_open().await;

    let certificate = new_files.certificate[..400].to_owned();
    mount.swap(&Secret { certificate, ..new_files.clone() }).unwrap();
    wait_for_metric(&manager, "certificate_reload_failures_total 1").await;
    wait_for_metric(&manager, "certificate_files_refused 1").await;
    Watcher::new(&manager, &new).await.check_open().await;
    before.check_open().await;

    mount.swap(&new_files).unwrap();
    before.wait_until_closed().await;
    wait_for_metric(&manager, "connections_ended_total{reason=\"untrusted_client_certificate\"} 1").await;
    wait_for_metric(&manager, "certificate_reloads_total 2").await;
    wait_for_metric(&manager, "certificate_files_refused 0").await;
    after.check_open().await;
}

#[tokio::test]
async fn clients_may_have_an_authority_of_their_own() {
    let (standalone, private, next) = (Standalone::new(), Standalone::new(), Standalone::new());
    let public = standalone.options(&[]).certificates().unwrap();
    let private = private.options(&[]).certificates().unwrap();
    let clients = standalone.path("clients.crt");
    fs::copy(private.authority(), &clients).unwrap();
    let missing = standalone.path("missing");
    let arguments =
        ["--client-ca-file", clients.to_str().unwrap(), "--ca-cert-file", missing.to_str().unwrap()];
    let manager = Manager::start(&standalone.options(&arguments)).await.unwrap();
    let mut client = Watcher::trusting(&manager, &public, &private).await;
    let refused = TlsClient::GOOD.connect(manager.grpc_address(), &public, &public).await;
    assert!(alert(refused).await.is_some(), "who signs the server does not sign clients");

    let next = next.options(&[]).certificates().unwrap();
    client.check_open().await;
    fs::copy(next.authority(), &clients).unwrap();
    client.wait_until_closed().await;
    Watcher::trusting(&manager, &public, &next).await.check_open().await;
}
