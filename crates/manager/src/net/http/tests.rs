//! Tests the port over a socket, like its clients.

use std::io;
use std::net::SocketAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use futures_util::FutureExt;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::registry::Registry;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use super::{CONNECTION_TIMEOUT, Health, HttpState, MAX_CONNECTIONS, serve};

/// Answers as set by the test, and counts the checks of Kubernetes.
#[derive(Clone)]
struct Fake {
    checks: Arc<AtomicUsize>,
    answer: Arc<Mutex<Result<(), String>>>,
    problems: Vec<String>,
    /// If set, the answer waits for it.
    release: Option<Arc<Notify>>,
}

impl Fake {
    fn new(answer: Result<(), &str>) -> Self {
        let answer = answer.map_err(str::to_owned);
        let answer = Arc::new(Mutex::new(answer));
        Self { checks: Arc::default(), answer, problems: Vec::new(), release: None }
    }

    fn waiting() -> Self {
        Self { release: Some(Arc::default()), ..Self::new(Ok(())) }
    }

    fn checks(&self) -> usize {
        self.checks.load(Ordering::SeqCst)
    }

    async fn until_checked(&self) {
        while self.checks() == 0 {
            tokio::task::yield_now().await;
        }
    }
}

impl Health for Fake {
    async fn kubernetes(&self) -> Result<(), String> {
        self.checks.fetch_add(1, Ordering::SeqCst);
        if let Some(release) = &self.release {
            release.notified().await;
        }
        self.answer.lock().unwrap().clone()
    }

    fn ready(&self) -> Result<(), String> {
        self.answer.lock().unwrap().clone()
    }

    fn problems(&self) -> Vec<String> {
        self.problems.clone()
    }
}

struct Server {
    address: SocketAddr,
    shutdown: CancellationToken,
    task: JoinHandle<()>,
}

impl Server {
    async fn start(health: Fake) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let address = listener.local_addr().unwrap();
        let mut registry = Registry::with_prefix("replica_count_manager");
        registry.register("repairs", "Repairs", Counter::<u64>::default());
        let shutdown = CancellationToken::new();
        let state = HttpState { health, registry };
        let task = tokio::spawn(serve(listener, state, shutdown.clone()));
        Self { address, shutdown, task }
    }
}

/// Sends bytes and returns everything received.
async fn exchange(address: SocketAddr, sent: &str) -> io::Result<String> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(sent.as_bytes()).await?;
    let mut received = String::new();
    stream.read_to_string(&mut received).await?;
    Ok(received)
}

async fn request(address: SocketAddr, method: &str, path: &str) -> io::Result<String> {
    exchange(address, &format!("{method} {path} HTTP/1.1\r\nHost: localhost\r\n\r\n")).await
}

#[tokio::test]
async fn each_path_responds() {
    let check = async |answer: Result<(), &str>, method: &str, path: &str, status: &str, body: &str| {
        let server = Server::start(Fake::new(answer)).await;
        let response = request(server.address, method, path).await.unwrap();
        let (head, received) = response.split_once("\r\n\r\n").unwrap();
        assert_eq!(head.lines().next(), Some(format!("HTTP/1.1 {status}").as_str()), "{method} {path}");
        assert_eq!(received, body, "{method} {path}");
    };
    let unavailable = "503 Service Unavailable";
    let paths = "not found; there are /healthz /livez /readyz /metrics\n";
    check(Ok(()), "GET", "/healthz", "200 OK", "ok\n").await;
    check(Err("connection refused"), "GET", "/healthz", unavailable, "connection refused\n").await;
    check(Ok(()), "GET", "/readyz", "200 OK", "ok\n").await;
    check(Err("no cache\nno store"), "GET", "/readyz", unavailable, "no cache\nno store\n").await;
    check(Err("connection refused"), "GET", "/livez", "200 OK", "ok\n").await;
    check(Err("connection refused"), "HEAD", "/healthz", unavailable, "").await;
    check(Ok(()), "HEAD", "/livez", "200 OK", "").await;
    check(Ok(()), "HEAD", "/metrics", "200 OK", "").await;
    check(Ok(()), "GET", "/", "404 Not Found", paths).await;
    check(Ok(()), "POST", "/livez", "405 Method Not Allowed", "").await;
}

#[tokio::test]
async fn problems_are_shown_although_it_is_ready() {
    let problems = vec!["the disk is full".to_owned(), "the node is slow".to_owned()];
    let server = Server::start(Fake { problems, ..Fake::new(Ok(())) }).await;
    let response = request(server.address, "GET", "/readyz").await.unwrap();
    let (head, body) = response.split_once("\r\n\r\n").unwrap();
    assert!(head.starts_with("HTTP/1.1 200 OK"), "{head}");
    assert_eq!(body, "ok\nthe disk is full\nthe node is slow\n");
}

#[tokio::test]
async fn metrics_are_openmetrics_unless_another_format_is_preferred() {
    let server = Server::start(Fake::new(Ok(()))).await;
    let check = async |accept: &str, content_type: &str, body: &str| {
        let request = format!("GET /metrics HTTP/1.1\r\nHost: localhost\r\n{accept}\r\n");
        let response = exchange(server.address, &request).await.unwrap();
        let (head, received) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.contains(&format!("content-type: {content_type}\r\n")), "{head}");
        assert_eq!(received, body);
    };
    let openmetrics = "# HELP replica_count_manager_repairs Repairs.\n\
                       # TYPE replica_count_manager_repairs counter\n\
                       replica_count_manager_repairs_total 0\n\
                       # EOF\n";
    let openmetrics_type = "application/openmetrics-text; version=1.0.0; charset=utf-8";
    check("", openmetrics_type, openmetrics).await;
    check("Accept: */*\r\n", openmetrics_type, openmetrics).await;
    let plain = "# HELP replica_count_manager_repairs_total Repairs.\n\
                 # TYPE replica_count_manager_repairs_total counter\n\
                 replica_count_manager_repairs_total 0\n";
    check("Accept: text/plain\r\n", "text/plain; version=0.0.4; charset=utf-8", plain).await;
}

#[tokio::test(start_paused = true)]
async fn a_slow_request_times_out() {
    let server = Server::start(Fake::new(Ok(()))).await;
    let before = Instant::now();
    let received = exchange(server.address, "GET /livez HTTP/1.1\r\n").await.unwrap();
    assert!(!received.contains("200 OK"), "{received}");
    assert!(before.elapsed() < CONNECTION_TIMEOUT);
}

#[tokio::test]
async fn the_oldest_connection_makes_room_for_a_new_one() {
    let server = Server::start(Fake::new(Ok(()))).await;
    let mut held = Vec::new();
    for _ in 0..MAX_CONNECTIONS {
        held.push(TcpStream::connect(server.address).await.unwrap());
    }
    let response = request(server.address, "GET", "/livez").await.unwrap();
    assert!(response.starts_with("HTTP/1.1 200 OK"), "{response}");
    assert_eq!(held[0].read(&mut [0; 1]).await.unwrap(), 0);
    // The second connection is still open and is answered.
    held[1].write_all(b"GET /livez HTTP/1.0\r\n\r\n").await.unwrap();
    let mut answered = String::new();
    held[1].read_to_string(&mut answered).await.unwrap();
    assert!(answered.starts_with("HTTP/1.0 200 OK"), "{answered}");
}

#[tokio::test]
async fn shutdown_answers_requests_in_flight() {
    let health = Fake::waiting();
    let release = health.release.clone().unwrap();
    let server = Server::start(health.clone()).await;
    let mut silent = TcpStream::connect(server.address).await.unwrap();
    let in_flight = tokio::spawn(request(server.address, "GET", "/healthz").boxed());
    health.until_checked().await;

    server.shutdown.cancel();
    assert_eq!(
        silent.read(&mut [0; 1]).await.unwrap(),
        0,
        "a connection without a request is closed immediately"
    );
    release.notify_waiters();
    assert!(in_flight.await.unwrap().unwrap().starts_with("HTTP/1.1 200 OK"));
    server.task.await.unwrap();
}
