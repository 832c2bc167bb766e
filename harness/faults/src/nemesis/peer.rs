//! A client that means harm. Good ones are served meanwhile, and the server's memory stays bounded.

use std::cell::Cell;
use std::fs;
use std::io::ErrorKind;
use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Result, anyhow, bail};
use futures_util::future::join_all;
use replica_count_api::proto::{ListDeploymentsRequest, SetDeploymentRequest};
use replica_count_testbed::frames::{self, CONTINUATION, DATA, GOAWAY, HEADERS, PING, REFLECTION, frame};
use replica_count_testbed::manager::{self, Certificates, Client, TlsClient};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::{self, Instant};
use tonic::Code;

use super::{Attack, Place};
use crate::patience::{Verdict, until};
use crate::server::Access;

/// The user that attacks.
const HOSTILE: &str = "hostile";
const ATTACK: Duration = Duration::from_secs(3);
/// How long a good client waits, at most, for servers die meanwhile. What is half open is given up later.
const PATIENCE: Duration = Duration::from_secs(8);
/// The most that the server may have taken by then. Built for tests, it takes 35 at most, and 30 without an attack.
const MEBIBYTES: u64 = 64;

/// Far more requests than may be taken back on one connection, and headers than a request may have.
const MANY: usize = 1000;
/// Far more frames than may carry nothing.
const VERY_MANY: usize = 20_000;
/// More than may be in the handshake.
const STRANGERS: usize = 300;
/// Far more than a message may have.
const BYTES: usize = 4 << 20;
const MESSAGES: usize = 16;

/// What became of one strike.
enum Strike {
    /// The server did what it must. What is open after it is held until all is over.
    Met(Vec<TcpStream>),
    /// The server let it happen: what it should have done.
    Suffered(&'static str),
}

pub(super) async fn attack(
    attack: Attack,
    place: &Place<'_>,
    server: &watch::Receiver<Access>,
) -> Result<Verdict> {
    let certificates = place.options.certificates()?;
    certificates.issue(HOSTILE, &[])?;
    let is_over = Cell::new(false);
    let attacking = async {
        let struck = strikes(attack, server, &certificates).await;
        is_over.set(true);
        struck
    };
    let mut is_measured = false;
    let mut visits = async || {
        let visit = async || visit(place, server, &certificates).await;
        until("a good client is served", PATIENCE, visit).await?;
        is_measured |= bounded(server.borrow().pid)?;
        Ok(())
    };
    let visiting = async {
        let mut verdict = Ok(());
        while verdict.is_ok() && !is_over.get() {
            verdict = visits().await;
            time::sleep(Duration::from_millis(100)).await;
        }
        verdict
    };
    let (struck, served) = tokio::join!(attacking, visiting);
    // Once more while what was opened is still held.
    let served = served.and(visits().await);
    let measured = if is_measured { Ok(()) } else { Err("no server lived to be measured".to_owned()) };
    Ok(struck.map(drop).and(served).and(measured))
}

/// Attacks as often as it can; returns what is open after the last time.
async fn strikes(
    attack: Attack,
    server: &watch::Receiver<Access>,
    certificates: &Certificates,
) -> Result<Vec<TcpStream>, String> {
    let end = Instant::now() + ATTACK;
    let mut last = Err(anyhow!("nothing was tried"));
    while Instant::now() < end {
        let mut starts = server.clone();
        starts.borrow_and_update();
        match strike(attack, server, certificates).await {
            Ok(Strike::Met(held)) => {
                let holds = !held.is_empty();
                last = Ok(held);
                // What is open stays so, or its places would be free for a moment.
                if holds {
                    let _ = time::timeout_at(end, starts.changed()).await;
                }
            }
            Ok(Strike::Suffered(what)) => return Err(format!("the server did not {what}")),
            // The server may be dead, but not all the time.
            Err(error) if last.is_err() => last = Err(error),
            Err(_) => {}
        }
        time::sleep(Duration::from_millis(1)).await;
    }
    last.map_err(|error| format!("no attack reached the server: {error:#}"))
}

async fn strike(
    attack: Attack,
    server: &watch::Receiver<Access>,
    certificates: &Certificates,
) -> Result<Strike> {
    let address = server.borrow().address;
    match attack {
        Attack::RapidReset => flood(address, certificates, frames::resets(MANY)).await,
        Attack::Continuation => flood(address, certificates, endless_headers()).await,
        Attack::EmptyFrames => flood(address, certificates, empty_frames()).await,
        Attack::HalfOpen => open(address).await.map(Strike::Met),
        Attack::Oversized => oversize(&manager::connect(address, certificates, HOSTILE).await?).await,
    }
}

/// A request whose headers go on and on.
fn endless_headers() -> Vec<u8> {
    let more = frame(CONTINUATION, 0, 1, &frames::header("name", &"x".repeat(1000)));
    [frame(HEADERS, 0, 1, b""), more.repeat(MANY)].concat()
}

/// A request with a body of nothing that goes on and on.
fn empty_frames() -> Vec<u8> {
    [frames::call(1, REFLECTION), frame(DATA, 0, 1, b"").repeat(VERY_MANY)].concat()
}

/// The server must end the connection before it has read all of it, and answers what comes last.
async fn flood(address: SocketAddr, certificates: &Certificates, attack: Vec<u8>) -> Result<Strike> {
    let caller = TlsClient { name: Some(HOSTILE), ..TlsClient::GOOD };
    let mut stream = caller.connect(address, certificates, certificates).await?;
    let sent = [frames::preface(&[]), attack, frames::ping()].concat();
    // The connection may end before all is sent.
    let _ = stream.write_all(&sent).await;
    loop {
        match frames::receive(&mut stream).await {
            Ok(frame) if frame.kind == GOAWAY => return Ok(Strike::Met(Vec::new())),
            Ok(frame) if frame.kind == PING => return Ok(Strike::Suffered("end the connection of a flood")),
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                return Ok(Strike::Suffered("end the connection of a flood in time"));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn open(address: SocketAddr) -> Result<Vec<TcpStream>> {
    let mut strangers = Vec::new();
    for _ in 0..STRANGERS {
        let mut stream = manager::connect_without_handshake(address).await?;
        // It may have been closed already.
        let _ = stream.write_u8(manager::HANDSHAKE).await;
        strangers.push(stream);
    }
    Ok(strangers)
}

async fn oversize(client: &Client) -> Result<Strike> {
    let request = || SetDeploymentRequest { reason: "x".repeat(BYTES), ..SetDeploymentRequest::default() };
    let requests = (0..MESSAGES).map(|_| {
        let mut client = client.clone();
        async move { client.set_deployment(request()).await }
    });
    for answer in join_all(requests).await {
        match answer {
            Err(status) if status.code() == Code::OutOfRange => {}
            // It was read and looked at.
            Ok(_) => return Ok(Strike::Suffered("refuse what is too large")),
            Err(status) if status.code() == Code::InvalidArgument => {
                return Ok(Strike::Suffered("refuse what is too large"));
            }
            Err(status) => bail!("{status}"),
        }
    }
    Ok(Strike::Met(Vec::new()))
}

/// What a good client does: it calls on its old connection and on a new one.
async fn visit(
    place: &Place<'_>,
    server: &watch::Receiver<Access>,
    certificates: &Certificates,
) -> Result<()> {
    let Access { client, address, .. } = server.borrow().clone();
    for mut client in [client, manager::connect(address, certificates, "client").await?] {
        let namespace = place.namespace.to_owned();
        client.list_deployments(ListDeploymentsRequest { namespace, ..Default::default() }).await?;
    }
    Ok(())
}

/// Looks at the most memory that the server had at once; false if it has died meanwhile.
fn bounded(pid: u32) -> Result<bool, String> {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { return Ok(false) };
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    // A process that has ended and was not waited for has a status, but no memory.
    let Some(peak) = peak else { return Ok(false) };
    match peak.parse::<u64>() {
        Ok(kib) if kib <= MEBIBYTES << 10 => Ok(true),
        _ => Err(format!("the server has taken {peak} KiB")),
    }
}
