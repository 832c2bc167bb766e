//! Turns a bound listener into a stream of connections of known clients.
//!
//! The loop never waits for a single client: each handshake is a task, and the loop owns all of them. Everything that
//! peers can use up is limited: handshakes and their duration, and the connections of all users and of each.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::unfold;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinError;
use tokio::time::{Instant, timeout, timeout_at};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::connection::{Connection, Peer};
use super::credentials::Credentials;
use super::identity::Identity;
use super::metrics::ConnectionMetrics;
use super::refusal::Refusal;
use super::trust::Chain;
use crate::net::listener::Listener;
use crate::net::pending::Pending;
use crate::net::quota::{Quota, Share};

/// TCP keepalive: a client that is silent for this long is probed.
const KEEPALIVE_IDLE: Duration = Duration::from_mins(1);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 4;

/// For how long, and up to how many bytes, the server still reads from a refused client, so that the client can read
/// the alert.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 64 * 1024;

/// Limits for peers.
#[derive(Clone, Copy, Debug)]
pub struct AcceptLimits {
    /// Open connections of authenticated clients.
    pub max_connections: usize,
    /// Open connections of one user.
    pub max_connections_of_user: usize,
    /// Pending handshakes. Another one evicts the oldest.
    pub max_handshakes: usize,
    /// The time from the connection to the end of the handshake.
    pub handshake_timeout: Duration,
}

impl Default for AcceptLimits {
    fn default() -> Self {
        Self {
            max_connections: 1024,
            max_connections_of_user: 256,
            max_handshakes: 128,
            handshake_timeout: Duration::from_secs(10),
        }
    }
}

/// Accepts connections until `shutdown`; then the listener is closed and handshakes in flight are dropped.
///
/// Every item is `Ok`: a failure affects one client only, and is counted and logged.
pub fn accept(
    listener: TcpListener,
    credentials: watch::Receiver<Credentials>,
    limits: AcceptLimits,
    metrics: ConnectionMetrics,
    shutdown: CancellationToken,
) -> impl Stream<Item = io::Result<Connection>> + Send {
    let acceptor = Acceptor {
        listener: Listener::new(listener),
        credentials,
        handshake_timeout: limits.handshake_timeout,
        slots: Quota::new(limits.max_connections, limits.max_connections_of_user),
        handshakes: Pending::new(limits.max_handshakes),
        metrics,
    };
    unfold((acceptor, shutdown), |(mut acceptor, shutdown)| async move {
        let next = shutdown.run_until_cancelled(acceptor.next()).await;
        next.map(|connection| (Ok(connection), (acceptor, shutdown)))
    })
}

struct Acceptor {
    listener: Listener,
    credentials: watch::Receiver<Credentials>,
    handshake_timeout: Duration,
    slots: Arc<Quota>,
    handshakes: Pending<Result<Authenticated, Refused>>,
    metrics: ConnectionMetrics,
}

/// A client that has completed the handshake and has a slot.
struct Authenticated {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    chain: Chain,
    credentials: watch::Receiver<Credentials>,
    slot: Share,
}

/// A client that was refused.
struct Refused {
    refusal: Refusal,
    address: SocketAddr,
    cause: String,
}

impl Acceptor {
    async fn next(&mut self) -> Connection {
        loop {
            tokio::select! {
                Some(finished) = self.handshakes.next() => {
                    if let Some(connection) = self.finish(finished) {
                        return connection;
                    }
                }
                accepted = self.listener.accept() => match accepted {
                    Ok((stream, address)) => self.start(stream, address),
                    Err(error) => {
                        warn!(%error, "cannot accept a connection");
                        self.metrics.refuse(Refusal::Io);
                    }
                },
            }
        }
    }

    /// Starts the handshake.
    fn start(&mut self, stream: TcpStream, address: SocketAddr) {
        let handshake = Handshake {
            address,
            timeout: self.handshake_timeout,
            credentials: self.credentials.clone(),
            slots: Arc::clone(&self.slots),
        };
        if let Some(oldest) = self.handshakes.admit(address, handshake.run(stream)) {
            let cause = "a newer connection replaced it".to_owned();
            self.refuse(&Refused { refusal: Refusal::TooManyHandshakes, address: oldest, cause });
        }
    }

    fn finish(&self, finished: Result<Result<Authenticated, Refused>, JoinError>) -> Option<Connection> {
        match finished {
            Ok(Ok(Authenticated { stream, peer, chain, credentials, slot })) => {
                debug!(address = %peer.address, user = &*peer.identity.user, "connected");
                let distrusted = chain.until_distrusted(credentials);
                Some(Connection::new(stream, peer, distrusted, slot, self.metrics.open()))
            }
            Ok(Err(refused)) => {
                self.refuse(&refused);
                None
            }
            Err(error) => {
                error!(%error, "a handshake ended without a result");
                self.metrics.refuse(Refusal::Io);
                None
            }
        }
    }

    fn refuse(&self, refused: &Refused) {
        let Refused { refusal, address, cause } = refused;
        self.metrics.refuse(*refusal);
        let reason = refusal.reason();
        match refusal {
            // Port scans and TCP health checks, which are frequent and harmless, and floods of connections.
            Refusal::Disconnected | Refusal::TooManyHandshakes => {
                debug!(%address, reason, cause, "connection refused");
            }
            Refusal::NoClientCertificate
            | Refusal::UntrustedClientCertificate
            | Refusal::ExpiredClientCertificate
            | Refusal::FutureClientCertificate
            | Refusal::X509V1ClientCertificate
            | Refusal::NoIdentity
            | Refusal::UriInCommonName
            | Refusal::RefusedByClient
            | Refusal::Timeout
            | Refusal::NoTls
            | Refusal::NoTls13
            | Refusal::NoHttp2
            | Refusal::Protocol
            | Refusal::TooManyConnections
            | Refusal::Io => info!(%address, reason, cause, "connection refused"),
        }
    }
}

/// The handshake of one client.
struct Handshake {
    address: SocketAddr,
    timeout: Duration,
    credentials: watch::Receiver<Credentials>,
    slots: Arc<Quota>,
}

impl Handshake {
    async fn run(mut self, stream: TcpStream) -> Result<Authenticated, Refused> {
        let address = self.address;
        let refused = |refusal, cause: String| Refused { refusal, address, cause };
        let failed = |error: io::Error| refused(Refusal::of_io(error.kind()), error.to_string());
        let too_slow = |_| refused(Refusal::Timeout, format!("no handshake within {:?}", self.timeout));
        let deadline = Instant::now() + self.timeout;
        set_options(&stream).map_err(failed)?;
        // Whether it says anything, which tells probes from clients.
        let peeked = timeout_at(deadline, stream.peek(&mut [0])).await.map_err(too_slow)?;
        if peeked.map_err(failed)? == 0 {
            return Err(refused(Refusal::Disconnected, "the client has sent nothing".to_owned()));
        }
        let acceptor = TlsAcceptor::from(Arc::clone(&self.credentials.borrow_and_update().server));
        let accepting = acceptor.accept(stream).into_fallible();
        let accepted = timeout_at(deadline, accepting).await.map_err(too_slow)?;
        let mut stream = match accepted {
            Ok(stream) => stream,
            Err((error, stream)) => {
                close_after_alert(stream).await;
                let refusal = Refusal::of_handshake(&error);
                return Err(refused(refusal, refusal.describe(&error)));
            }
        };
        match self.authenticate(&stream) {
            Ok((peer, chain, slot)) => {
                Ok(Authenticated { stream, peer, chain, credentials: self.credentials, slot })
            }
            Err((refusal, cause)) => {
                // Notifies the client that the connection ends. It does not matter if the client has already closed it.
                let _ = timeout(LINGER, stream.shutdown()).await;
                Err(refused(refusal, cause))
            }
        }
    }

    /// Identifies the client and takes a slot for it.
    fn authenticate(&self, stream: &TlsStream<TcpStream>) -> Result<(Peer, Chain, Share), (Refusal, String)> {
        let chain = stream.get_ref().1.peer_certificates().and_then(Chain::new);
        let chain = chain.ok_or_else(|| (Refusal::NoIdentity, "no certificate".to_owned()))?;
        let identity = Identity::from_certificate(chain.leaf());
        let identity = identity.map_err(|error| (Refusal::of_identity(error), error.to_string()))?;
        let slot = self.slots.take(&identity.user, 1);
        let slot = slot.map_err(|exhausted| (Refusal::TooManyConnections, exhausted.to_string()))?;
        Ok((Peer { address: self.address, identity: Arc::new(identity) }, chain, slot))
    }
}

/// Sends small messages without delay, and detects clients that vanished.
fn set_options(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    rustix::net::sockopt::set_socket_keepalive(stream, true)?;
    rustix::net::sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    rustix::net::sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    rustix::net::sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES)?;
    Ok(())
}

/// Closes a refused connection so that the alert arrives: if bytes were left unread, the operating system would send a
/// reset, which can overtake the alert.
async fn close_after_alert(mut stream: TcpStream) {
    let drained = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    // It does not matter whether the client has read the alert.
    let _ = timeout(LINGER, drained).await;
}
