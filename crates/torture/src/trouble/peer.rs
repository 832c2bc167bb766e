//! A client that means harm. Good ones are served meanwhile, and the server's memory stays bounded.

use std::cell::Cell;
use std::fs;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::Result;
use futures_util::future::join_all;
use replica_count_api::proto::{ListDeploymentsRequest, SetDeploymentRequest};
use replica_count_testbed::manager::{self, Certificates, Client};
use tokio::io::AsyncWriteExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinSet;
use tokio::time::{self, Instant};

use super::{Attack, Place};
use crate::patience::{Verdict, until};
use crate::server::Reach;

/// The user that attacks.
const HOSTILE: &str = "hostile";
const ATTACK: Duration = Duration::from_secs(3);
/// How long a good client waits, at most, for servers die meanwhile. What is half open is given up later.
const PATIENCE: Duration = Duration::from_secs(8);
/// The most that the server may have taken by then.
const MEBIBYTES: u64 = 96;

const REQUESTS: usize = 100;
/// More than may be in the handshake.
const STRANGERS: usize = 300;
/// The first byte of a TLS record that holds a handshake.
const HANDSHAKE: u8 = 22;
/// Far more than a message may have.
const BYTES: usize = 4 << 20;
const MESSAGES: usize = 16;

pub(super) async fn attack(
    attack: Attack,
    place: &Place<'_>,
    server: &watch::Receiver<Reach>,
) -> Result<Verdict> {
    let certificates = place.options.certificates()?;
    certificates.issue(HOSTILE, &[])?;
    let (end, is_over) = (Instant::now() + ATTACK, Cell::new(false));
    let attacking = async {
        let mut held = Vec::new();
        while Instant::now() < end {
            // The server may refuse, or be dead.
            if let Ok(opened) = strike(attack, server, &certificates).await {
                held = opened;
            }
            time::sleep(Duration::from_millis(1)).await;
        }
        is_over.set(true);
        held
    };
    let visits = async || {
        let visit = async || visit(place, server, &certificates).await;
        until("a good client is served", PATIENCE, visit).await
    };
    let visiting = async {
        let mut verdict = Ok(());
        while verdict.is_ok() && !is_over.get() {
            verdict = visits().await;
            time::sleep(Duration::from_millis(100)).await;
        }
        verdict
    };
    let (held, served) = tokio::join!(attacking, visiting);
    // Once more while what was opened is still held.
    let served = served.and(visits().await);
    drop(held);
    Ok(served.and(bounded(server.borrow().pid)))
}

/// Attacks once; returns what is open after it.
async fn strike(
    attack: Attack,
    server: &watch::Receiver<Reach>,
    certificates: &Certificates,
) -> Result<Vec<TcpStream>> {
    let address = server.borrow().address;
    let connect = || manager::connect(address, certificates, HOSTILE);
    match attack {
        Attack::RapidReset => reset(&connect().await?).await,
        Attack::HalfOpen => return open(address).await,
        Attack::Oversized => oversize(&connect().await?).await,
    }
    Ok(Vec::new())
}

/// Asks, and takes it back when it is on its way.
async fn reset(client: &Client) {
    let mut requests = JoinSet::new();
    for _ in 0..REQUESTS {
        let mut client = client.clone();
        requests.spawn(async move { client.list_deployments(ListDeploymentsRequest::default()).await });
    }
    time::sleep(Duration::from_millis(2)).await;
    requests.shutdown().await;
}

/// From another address than that of good clients.
async fn open(address: SocketAddr) -> Result<Vec<TcpStream>> {
    let mut strangers = Vec::new();
    for _ in 0..STRANGERS {
        let socket = TcpSocket::new_v4()?;
        socket.bind(SocketAddr::from(([127, 0, 0, 2], 0)))?;
        let mut stream = socket.connect(address).await?;
        stream.write_u8(HANDSHAKE).await?;
        strangers.push(stream);
    }
    Ok(strangers)
}

async fn oversize(client: &Client) {
    let request = || SetDeploymentRequest { reason: "x".repeat(BYTES), ..SetDeploymentRequest::default() };
    let requests = (0..MESSAGES).map(|_| {
        let mut client = client.clone();
        async move { client.set_deployment(request()).await }
    });
    join_all(requests).await;
}

/// What a good client does: it calls on its old connection and on a new one.
async fn visit(
    place: &Place<'_>,
    server: &watch::Receiver<Reach>,
    certificates: &Certificates,
) -> Result<()> {
    let Reach { client, address, .. } = server.borrow().clone();
    for mut client in [client, manager::connect(address, certificates, "client").await?] {
        let namespace = place.namespace.to_owned();
        client.list_deployments(ListDeploymentsRequest { namespace, ..Default::default() }).await?;
    }
    Ok(())
}

/// The most memory that the server had at once, if it still runs.
fn bounded(pid: u32) -> Verdict {
    let status = fs::read_to_string(format!("/proc/{pid}/status")).unwrap_or_default();
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    match peak.and_then(|peak| peak.parse::<u64>().ok()) {
        Some(kib) if kib > MEBIBYTES << 10 => Err(format!("the server has taken {kib} KiB")),
        Some(_) | None => Ok(()),
    }
}
