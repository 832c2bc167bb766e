//! A client attacks the server. Good clients are served meanwhile, and the server's memory stays bounded.

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

use super::{Attack, RoundContext};
use crate::retry::{Verdict, retry};
use crate::server::Access;

/// The attacking user.
const HOSTILE: &str = "hostile";
const ATTACK_DURATION: Duration = Duration::from_secs(3);
/// How long a good client may have to wait, since servers may be killed meanwhile. Shorter than the server's timeout
/// for half-open connections.
const GOOD_CLIENT_DEADLINE: Duration = Duration::from_secs(8);
/// The server's memory limit. A debug build needs at most 35, and 30 without an attack.
const MAX_MEBIBYTES: u64 = 64;

/// Far more than the limit of resets on one connection, and of headers of a request.
const MANY: usize = 1000;
/// Far more than the limit of empty frames.
const VERY_MANY: usize = 20_000;
/// More than the limit of pending handshakes.
const PENDING_HANDSHAKES: usize = 300;
/// Far more than the limit of a message.
const BYTES: usize = 4 << 20;
const MESSAGES: usize = 16;

/// The result of one attack.
enum Reaction {
    /// The server reacted correctly. The remaining connections are held open until the end.
    Correct(Vec<TcpStream>),
    /// The server did not do this.
    Missing(&'static str),
}

pub(super) async fn attack(
    attack: Attack,
    context: &RoundContext<'_>,
    server: &watch::Receiver<Access>,
) -> Result<Verdict> {
    let certificates = context.options.certificates()?;
    certificates.issue(HOSTILE, &[])?;
    let is_over = Cell::new(false);
    let attacking = async {
        let attacked = attack_repeatedly(attack, server, &certificates).await;
        is_over.set(true);
        attacked
    };
    let mut is_measured = false;
    let mut check_service = async || {
        let call = async || call_as_good_client(context, server, &certificates).await;
        retry("a good client is served", GOOD_CLIENT_DEADLINE, call).await?;
        is_measured |= check_memory(server.borrow().pid)?;
        Ok(())
    };
    let checking = async {
        let mut verdict = Ok(());
        while verdict.is_ok() && !is_over.get() {
            verdict = check_service().await;
            time::sleep(Duration::from_millis(100)).await;
        }
        verdict
    };
    let (attacked, served) = tokio::join!(attacking, checking);
    // Once more, while the attacker's connections are still open.
    let served = served.and(check_service().await);
    let measured =
        if is_measured { Ok(()) } else { Err("no server lived long enough to be measured".to_owned()) };
    Ok(attacked.map(drop).and(served).and(measured))
}

/// Attacks as often as possible, and returns the connections that are still open at the end.
async fn attack_repeatedly(
    attack: Attack,
    server: &watch::Receiver<Access>,
    certificates: &Certificates,
) -> Result<Vec<TcpStream>, String> {
    let end = Instant::now() + ATTACK_DURATION;
    let mut last = Err(anyhow!("no attempt was made"));
    while Instant::now() < end {
        let mut starts = server.clone();
        starts.borrow_and_update();
        match attack_once(attack, server, certificates).await {
            Ok(Reaction::Correct(held)) => {
                let holds = !held.is_empty();
                last = Ok(held);
                // Keeps the connections open, because closing them would briefly free their slots.
                if holds {
                    let _ = time::timeout_at(end, starts.changed()).await;
                }
            }
            Ok(Reaction::Missing(what)) => return Err(format!("the server did not {what}")),
            // The server may be restarting, but some attempt must reach it.
            Err(error) if last.is_err() => last = Err(error),
            Err(_) => {}
        }
        time::sleep(Duration::from_millis(1)).await;
    }
    last.map_err(|error| format!("no attack reached the server: {error:#}"))
}

async fn attack_once(
    attack: Attack,
    server: &watch::Receiver<Access>,
    certificates: &Certificates,
) -> Result<Reaction> {
    let address = server.borrow().address;
    match attack {
        Attack::RapidReset => flood(address, certificates, frames::resets(MANY)).await,
        Attack::Continuation => flood(address, certificates, endless_headers()).await,
        Attack::EmptyFrames => flood(address, certificates, empty_frames()).await,
        Attack::HalfOpen => open(address).await.map(Reaction::Correct),
        Attack::Oversized => oversize(&manager::connect(address, certificates, HOSTILE).await?).await,
    }
}

/// A request with endless headers.
fn endless_headers() -> Vec<u8> {
    let more = frame(CONTINUATION, 0, 1, &frames::header("name", &"x".repeat(1000)));
    [frame(HEADERS, 0, 1, b""), more.repeat(MANY)].concat()
}

/// A request with an endless, empty body.
fn empty_frames() -> Vec<u8> {
    [frames::call(1, REFLECTION), frame(DATA, 0, 1, b"").repeat(VERY_MANY)].concat()
}

/// Sends a flood followed by a ping. The server must close the connection instead of answering the ping.
async fn flood(address: SocketAddr, certificates: &Certificates, attack: Vec<u8>) -> Result<Reaction> {
    let attacker = TlsClient { name: Some(HOSTILE), ..TlsClient::GOOD };
    let mut stream = attacker.connect(address, certificates, certificates).await?;
    let sent = [frames::preface(&[]), attack, frames::ping()].concat();
    // The server may close the connection before everything is sent.
    let _ = stream.write_all(&sent).await;
    loop {
        match frames::receive(&mut stream).await {
            Ok(frame) if frame.kind == GOAWAY => return Ok(Reaction::Correct(Vec::new())),
            Ok(frame) if frame.kind == PING => {
                return Ok(Reaction::Missing("close the connection of a flood"));
            }
            Ok(_) => {}
            Err(error) if error.kind() == ErrorKind::TimedOut => {
                return Ok(Reaction::Missing("close the connection of a flood in time"));
            }
            Err(error) => return Err(error.into()),
        }
    }
}

async fn open(address: SocketAddr) -> Result<Vec<TcpStream>> {
    let mut connections = Vec::new();
    for _ in 0..PENDING_HANDSHAKES {
        let mut stream = manager::connect_without_handshake(address).await?;
        // The server may have closed the connection already.
        let _ = stream.write_u8(manager::HANDSHAKE).await;
        connections.push(stream);
    }
    Ok(connections)
}

async fn oversize(client: &Client) -> Result<Reaction> {
    let request = || SetDeploymentRequest { reason: "x".repeat(BYTES), ..SetDeploymentRequest::default() };
    let requests = (0..MESSAGES).map(|_| {
        let mut client = client.clone();
        async move { client.set_deployment(request()).await }
    });
    for answer in join_all(requests).await {
        match answer {
            Err(status) if status.code() == Code::OutOfRange => {}
            // The server has read and processed it.
            Ok(_) => return Ok(Reaction::Missing("refuse an oversized message")),
            Err(status) if status.code() == Code::InvalidArgument => {
                return Ok(Reaction::Missing("refuse an oversized message"));
            }
            Err(status) => bail!("{status}"),
        }
    }
    Ok(Reaction::Correct(Vec::new()))
}

/// Calls like a good client, on an old connection and on a new one.
async fn call_as_good_client(
    context: &RoundContext<'_>,
    server: &watch::Receiver<Access>,
    certificates: &Certificates,
) -> Result<()> {
    let Access { client, address, .. } = server.borrow().clone();
    for mut client in [client, manager::connect(address, certificates, "client").await?] {
        let namespace = context.namespace.to_owned();
        client.list_deployments(ListDeploymentsRequest { namespace, ..Default::default() }).await?;
    }
    Ok(())
}

/// Checks the server's peak memory; false if it has died meanwhile.
fn check_memory(pid: u32) -> Result<bool, String> {
    let Ok(status) = fs::read_to_string(format!("/proc/{pid}/status")) else { return Ok(false) };
    let peak = status.lines().find_map(|line| line.strip_prefix("VmHWM:")?.trim().strip_suffix(" kB"));
    // A zombie has a status, but no memory.
    let Some(peak) = peak else { return Ok(false) };
    match peak.parse::<u64>() {
        Ok(kib) if kib <= MAX_MEBIBYTES << 10 => Ok(true),
        _ => Err(format!("the server used {peak} KiB of memory")),
    }
}
