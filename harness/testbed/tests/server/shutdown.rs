//! SIGTERM: requests in flight are finished, and no client can keep the server from ending.

use std::fs::{self, File};
use std::os::unix::fs::OpenOptionsExt as _;
use std::path::Path;
use std::time::Duration;

use replica_count_api::proto::SetDeploymentRequest;
use replica_count_testbed::Manager;
use replica_count_testbed::manager::TlsClient;
use rustix::fs::{CWD, Mode, OFlags};
use rustix::process::{Pid, Signal, kill_process};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::task::{JoinHandle, JoinSet};
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::fixture::eventually;
use crate::standalone::Standalone;

/// The server's drain deadline, plus some time for a slow machine.
const DEADLINE: Duration = Duration::from_secs(20);

/// Well below the drain deadline.
const PROMPT: Duration = Duration::from_secs(5);

/// Connects, and expects the server to end properly within `limit` anyway.
async fn check<T>(limit: Duration, connect: impl AsyncFnOnce(&Manager) -> T) {
    let standalone = Standalone::new();
    let manager = Manager::start(&standalone.options(&[])).await.unwrap();
    let connection = connect(&manager).await;
    let signalled = Instant::now();
    let status = manager.terminate().await.unwrap();
    assert_eq!(status.code(), Some(0));
    assert!(signalled.elapsed() < limit, "{:?}", signalled.elapsed());
    drop(connection);
}

#[tokio::test]
async fn a_server_without_clients_ends_immediately() {
    check(PROMPT, async |_| ()).await;
}

#[tokio::test]
async fn an_idle_client_is_disconnected() {
    check(PROMPT, async |manager| manager.client().await.unwrap()).await;
}

#[tokio::test]
async fn a_client_in_the_handshake_is_dropped() {
    check(PROMPT, async |manager| TcpStream::connect(manager.grpc_address()).await.unwrap()).await;
}

#[tokio::test]
async fn a_silent_client_of_the_http_port_is_dropped() {
    check(PROMPT, async |manager| {
        let mut stream = TcpStream::connect(manager.http_address()).await.unwrap();
        stream.write_all(b"GET /healthz HTTP/1.1\r\n").await.unwrap();
        (stream, TcpStream::connect(manager.http_address()).await.unwrap())
    })
    .await;
}

#[tokio::test]
async fn an_unresponsive_client_is_disconnected() {
    check(DEADLINE, async |manager| {
        let certificates = manager.certificates();
        TlsClient::GOOD.connect(manager.grpc_address(), certificates, certificates).await.unwrap()
    })
    .await;
}

/// Begins a call that waits for the API server, for as long as the server allows.
async fn request_in_flight(
    standalone: &Standalone,
    manager: &Manager,
) -> (JoinHandle<Result<(), Status>>, JoinSet<()>) {
    let mut client = manager.client().await.unwrap();
    let request = SetDeploymentRequest {
        name: "web".to_owned(),
        namespace: "shop".to_owned(),
        replicas: Some(1),
        ..SetDeploymentRequest::default()
    };
    let call = tokio::spawn(async move { client.set_deployment(request).await.map(drop) });
    (call, standalone.wait_for_request("/namespaces/shop/deployments/web").await)
}

#[tokio::test]
async fn a_request_in_flight_is_answered() {
    let standalone = Standalone::new();
    let manager = Manager::start(&standalone.options(&[])).await.unwrap();
    let (call, _connections) = request_in_flight(&standalone, &manager).await;
    signal(&manager, Signal::TERM);
    let status = call.await.unwrap().unwrap_err();
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert_eq!(status.get_details_error_info().unwrap().reason, "CLUSTER_NOT_READ");
    assert_eq!(manager.wait().await.unwrap().code(), Some(0));
}

#[tokio::test]
async fn a_second_signal_ends_it_immediately() {
    for second in [Signal::TERM, Signal::INT] {
        let standalone = Standalone::new();
        let manager = Manager::start(&standalone.options(&[])).await.unwrap();
        let _in_flight = request_in_flight(&standalone, &manager).await;
        signal(&manager, Signal::TERM);
        eventually("it drains", async || {
            let log = manager.log();
            if log.iter().any(|line| line.contains("draining")) { Ok(()) } else { Err(log) }
        })
        .await;
        signal(&manager, second);
        assert_eq!(manager.wait().await.unwrap().code(), Some(1));
    }
}

fn signal(manager: &Manager, signal: Signal) {
    let process = Pid::from_raw(manager.pid().try_into().unwrap()).unwrap();
    kill_process(process, signal).unwrap();
}

/// The process with `argument` on its command line.
fn process_with(argument: &Path) -> Pid {
    let processes = fs::read_dir("/proc").unwrap().map(|entry| entry.unwrap());
    let mut ids = processes.filter_map(|entry| {
        let line = fs::read(entry.path().join("cmdline")).ok()?;
        let mut arguments = line.split(|byte| *byte == 0);
        arguments.any(|found| found == argument.as_os_str().as_encoded_bytes()).then_some(())?;
        Pid::from_raw(entry.file_name().to_str()?.parse().ok()?)
    });
    ids.next().unwrap()
}

#[tokio::test]
async fn a_signal_during_the_start_is_not_lost() {
    let standalone = Standalone::new();
    // The server blocks on this pipe, to which nobody writes.
    let pipe = standalone.path("pipe");
    rustix::fs::mkfifoat(CWD, &pipe, Mode::RUSR | Mode::WUSR).unwrap();
    let options = standalone.options(&["--cert-file", pipe.to_str().unwrap()]);
    let ended = tokio::spawn(async move { Manager::start_expecting_failure(&options).await.unwrap() });
    let flags = OFlags::NONBLOCK.bits().cast_signed();
    let _writer =
        eventually("the server reads", async || File::options().write(true).custom_flags(flags).open(&pipe))
            .await;
    let signalled = Instant::now();
    kill_process(process_with(&pipe), Signal::TERM).unwrap();
    let (status, log) = ended.await.unwrap();
    assert!(signalled.elapsed() < PROMPT, "{:?}", signalled.elapsed());
    assert_eq!(status.code(), Some(0), "{log:?}");
    assert!(log.last().unwrap().contains("stopped"), "{log:?}");
}
