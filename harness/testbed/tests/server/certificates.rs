//! Certificates change while the server runs: files are swapped as Kubernetes swaps them in a mounted secret.

use std::time::Duration;

use replica_count_testbed::Manager;
use replica_count_testbed::frames::{self, DATA, HEALTH_WATCH, PING};
use replica_count_testbed::manager::{Caller, Certificates, Mount, Secret};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::{Instant, timeout};
use tokio_rustls::client::TlsStream;

use crate::alone::Alone;
use crate::scene::eventually;

/// "Within seconds": how long a client that is no longer trusted stays at most.
const SOON: Duration = Duration::from_secs(10);

/// A connection with a stream that stays open.
struct Watcher(TlsStream<TcpStream>);

impl Watcher {
    async fn new(manager: &Manager, certificates: &Certificates) -> Self {
        let mut stream =
            Caller::GOOD.connect(manager.grpc_address(), certificates, certificates).await.unwrap();
        stream.write_all(&frames::preface(&[])).await.unwrap();
        stream.write_all(&frames::whole_call(1, HEALTH_WATCH)).await.unwrap();
        while frames::receive(&mut stream).await.unwrap().kind != DATA {}
        Self(stream)
    }

    /// Still there, with its stream.
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

    async fn until_closed(&mut self) {
        let closed = async { while frames::receive(&mut self.0).await.is_ok() {} };
        timeout(SOON, closed).await.expect("closed soon");
    }
}

/// Waits until the metrics show a line.
async fn until_shown(manager: &Manager, line: &str) {
    let asked = Instant::now();
    eventually(line, async || {
        let metrics = manager.metrics().await.unwrap();
        let line = format!("replica_count_manager_{line}");
        if metrics.lines().any(|shown| shown == line) { Ok(()) } else { Err(metrics) }
    })
    .await;
    assert!(asked.elapsed() < SOON, "{line}: {:?}", asked.elapsed());
}

#[tokio::test]
async fn certificates_change_under_a_running_server() {
    let (alone, abroad) = (Alone::new(), Alone::new());
    let old = alone.options(&[]).certificates().unwrap();
    let new = abroad.options(&[]).certificates().unwrap();
    let (old_files, new_files) = (Secret::of(&old).unwrap(), Secret::of(&new).unwrap());
    let mut mount = Mount::new(&alone.path("mount"), &old_files).unwrap();
    let manager = Manager::start(&mount.used_by(alone.options(&[]))).await.unwrap();
    let mut before = Watcher::new(&manager, &old).await;

    // The authority is changed in the usual way: for a while, both are trusted.
    let authorities = old_files.authorities + &new_files.authorities;
    mount.swap(&Secret { authorities, ..new_files.clone() }).unwrap();
    until_shown(&manager, "certificate_reloads_total 1").await;
    let mut after = Watcher::new(&manager, &new).await;
    before.check_open().await;

    let certificate = new_files.certificate[..400].to_owned();
    mount.swap(&Secret { certificate, ..new_files.clone() }).unwrap();
    until_shown(&manager, "certificate_reload_failures_total 1").await;
    until_shown(&manager, "certificate_files_refused 1").await;
    Watcher::new(&manager, &new).await.check_open().await;
    before.check_open().await;

    mount.swap(&new_files).unwrap();
    before.until_closed().await;
    until_shown(&manager, "connections_ended_total{reason=\"untrusted_client_certificate\"} 1").await;
    until_shown(&manager, "certificate_reloads_total 2").await;
    until_shown(&manager, "certificate_files_refused 0").await;
    after.check_open().await;
}
