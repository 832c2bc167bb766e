//! A server under attack, and the good client that uses it meanwhile.

use std::cell::Cell;
use std::time::Duration;
use std::{fs, io};

use replica_count_api::proto::ListDeploymentsRequest;
use replica_count_testbed::manager::{Caller, Client};
use replica_count_testbed::{Manager, frames};
use serde_json::json;
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tokio_rustls::client::TlsStream;

use crate::alone::Alone;

/// The user that attacks.
const HOSTILE: &str = "hostile";

/// How long an attack that could go on for ever does.
pub(super) const ATTACK: Duration = Duration::from_secs(1);

/// How long a good client waits, at most, for anything. Not a benchmark: most takes milliseconds.
const PATIENCE: Duration = Duration::from_secs(20);

/// A server with stored settings and no cluster.
pub(super) struct Siege {
    pub(super) manager: Manager,
    _alone: Alone,
}

impl Siege {
    pub(super) async fn new() -> Self {
        Self::with_settings(1).await
    }

    /// With so many stored settings, all of which ListDeployments shows. Their names are as long as names may be.
    pub(super) async fn with_settings(count: usize) -> Self {
        let alone = Alone::new();
        let options = alone.options(&[]);
        options.certificates().unwrap().issue(HOSTILE, &[]).unwrap();
        let setting = |n| json!({ "name": format!("{n:0>240}"), "namespace": "besieged", "replicas": 1 });
        let settings: Vec<_> = (0..count).map(setting).collect();
        fs::write(options.store(), serde_json::to_vec(&settings).unwrap()).unwrap();
        Self { manager: Manager::start(&options).await.unwrap(), _alone: alone }
    }

    /// Lets the attack happen. Meanwhile a good client calls again and again, and once more while what the attack has
    /// opened is still held. The memory of the server grows by `mebibytes` at most.
    pub(super) async fn withstand<T>(&mut self, mebibytes: usize, attack: impl AsyncFnOnce(&Self) -> T) {
        let mut old = self.manager.client().await.unwrap();
        self.visit(&mut old).await;
        let before = self.memory("VmRSS");
        let is_over = Cell::new(false);
        let attacking = async {
            let held = attack(self).await;
            is_over.set(true);
            held
        };
        let visiting = async {
            while !is_over.get() {
                self.visit(&mut old).await;
            }
            self.visit(&mut old).await;
        };
        let _held = tokio::join!(attacking, visiting);
        let growth = self.memory("VmHWM").saturating_sub(before);
        assert!(growth <= mebibytes << 20, "by {growth} bytes, from {before}");
        self.manager.check_alive().unwrap();
    }

    /// What a good client does: it calls on its old connection and on a new one, and a probe asks the HTTP port.
    async fn visit(&self, old: &mut Client) {
        let request = || ListDeploymentsRequest { page_size: 1, ..ListDeploymentsRequest::default() };
        let visit = async {
            old.list_deployments(request()).await.unwrap();
            let mut new = self.manager.client().await.unwrap();
            let answer = new.list_deployments(request()).await.unwrap().into_inner();
            assert_eq!(answer.deployments_replica_config.len(), 1);
            assert_eq!(self.manager.get("/livez").await.unwrap().0, 200);
        };
        timeout(PATIENCE, visit).await.expect("a good client is served in time");
    }

    /// A connection of the attacker, after the handshake.
    pub(super) async fn connect(&self) -> TlsStream<TcpStream> {
        self.try_connect().await.unwrap()
    }

    pub(super) async fn try_connect(&self) -> io::Result<TlsStream<TcpStream>> {
        let caller = Caller { name: Some(HOSTILE), ..Caller::GOOD };
        let certificates = self.manager.certificates();
        caller.connect(self.manager.grpc_address(), certificates, certificates).await
    }

    /// The same, ready for frames.
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
