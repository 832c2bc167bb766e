//! A server under attack, with a good client that uses it meanwhile.

use std::cell::Cell;
use std::time::Duration;
use std::{fs, io};

use replica_count_api::proto::ListDeploymentsRequest;
use replica_count_testbed::manager::{Client, TlsClient};
use replica_count_testbed::{Manager, frames};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::standalone::Standalone;

/// The attacking user.
const HOSTILE: &str = "hostile";

/// How long an unlimited attack lasts.
pub(super) const ATTACK_DURATION: Duration = Duration::from_secs(1);

/// How long a good client may have to wait. This is no benchmark: most calls take milliseconds.
const TIMEOUT: Duration = Duration::from_secs(20);

/// A server with stored settings but no cluster.
pub(super) struct AttackedServer {
    pub(super) manager: Manager,
    _standalone: Standalone,
}

impl AttackedServer {
    pub(super) async fn new() -> Self {
        Self::with_settings(1).await
    }

    /// With `count` stored settings, all shown by ListDeployments. Their names have almost the maximum length.
    pub(super) async fn with_settings(count: usize) -> Self {
        let standalone = Standalone::new();
        let options = standalone.options(&[]);
        options.certificates().unwrap().issue(HOSTILE, &[]).unwrap();
        let setting = |n| json!({ "name": format!("{n:0>240}"), "namespace": "attacked", "replicas": 1 });
        let settings: Vec<_> = (0..count).map(setting).collect();
        fs::write(options.store(), serde_json::to_vec(&settings).unwrap()).unwrap();
        Self { manager: Manager::start(&options).await.unwrap(), _standalone: standalone }
    }

    /// Runs the attack. Meanwhile a good client makes calls, and a last one while everything that the attack opened is
    /// still open. The server's memory must not grow by more than `mebibytes`.
    pub(super) async fn withstand<T>(&mut self, mebibytes: usize, attack: impl AsyncFnOnce(&Self) -> T) {
        let mut old = self.manager.client().await.unwrap();
        self.call(&mut old).await;
        let before = self.memory("VmRSS");
        let is_over = Cell::new(false);
        let attacking = async {
            let held = attack(self).await;
            is_over.set(true);
            held
        };
        let calling = async {
            while !is_over.get() {
                self.call(&mut old).await;
            }
            self.call(&mut old).await;
        };
        let _held = tokio::join!(attacking, calling);
        let growth = self.memory("VmHWM").saturating_sub(before);
        assert!(growth <= mebibytes << 20, "by {growth} bytes, from {before}");
        self.manager.check_alive().unwrap();
    }

    /// Calls like a good client, on an old connection and on a new one, and probes the HTTP port.
    async fn call(&self, old: &mut Client) {
        let request = || ListDeploymentsRequest { page_size: 1, ..ListDeploymentsRequest::default() };
        let calls = async {
            old.list_deployments(request()).await.unwrap();
            let mut new = self.manager.client().await.unwrap();
            let answer = new.list_deployments(request()).await.unwrap().into_inner();
            assert_eq!(answer.deployments_replica_config.len(), 1);
            assert_eq!(self.manager.get("/livez").await.unwrap().0, 200);
        };
        timeout(TIMEOUT, calls).await.expect("a good client is served in time");
    }

    /// Connects as the attacker, including the handshake.
    pub(super) async fn connect(&self) -> TlsStream<TcpStream> {
        self.try_connect().await.unwrap()
    }

    pub(super) async fn try_connect(&self) -> io::Result<TlsStream<TcpStream>> {
        let caller = TlsClient { name: Some(HOSTILE), ..TlsClient::GOOD };
        let certificates = self.manager.certificates();
        caller.connect(self.manager.grpc_address(), certificates, certificates).await
    }

    /// The same, with the HTTP/2 preface.
    pub(super) async fn connect_http2(&self) -> TlsStream<TcpStream> {
        let mut stream = self.connect().await;
        stream.write_all(&frames::preface(&[])).await.unwrap();
        stream
    }

    /// The value of a counter or a gauge.
    pub(super) async fn metric(&self, name: &str) -> u64 {
        let metrics = self.manager.metrics().await.unwrap();
        let start = format!("replica_count_manager_{name} ");
        metrics.lines().find_map(|line| line.strip_prefix(&start)).unwrap().parse().unwrap()
    }

    /// A line of the process's status, in bytes.
    fn memory(&self, field: &str) -> usize {
        let status = fs::read_to_string(format!("/proc/{}/status", self.manager.pid())).unwrap();
        let line = status.lines().find_map(|line| line.strip_prefix(&format!("{field}:"))).unwrap();
        line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
    }
}
