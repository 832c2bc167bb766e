//! From a bound listener to a stream of connections of known clients.
//!
//! The loop never waits for one client: each handshake is a task of its own, and the loop owns them all. Whatever a
//! stranger can make grow is bounded: places, handshakes, and the time of each.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use futures_util::Stream;
use futures_util::stream::unfold;
use rustls::ServerConfig;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use tokio::task::{JoinError, JoinSet};
use tokio::time::timeout;
use tokio_rustls::TlsAcceptor;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, info, warn};

use super::connection::{Connection, Peer};
use super::identity::Identity;
use super::metrics::ConnectionMetrics;
use super::refusal::Refusal;
use crate::listener::Listener;

/// When nothing is heard of a client for this long, TCP asks whether it is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_mins(1);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 4;

/// How long, and for how many bytes, a refused client is listened to, so that it can read why.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 64 * 1024;

/// What strangers may use up.
#[derive(Clone, Copy, Debug)]
pub struct AcceptLimits {
    /// Open connections, those in the handshake included.
    pub max_connections: usize,
    /// Connections in the handshake: those of strangers.
    pub max_handshakes: usize,
    /// Time from the connection to the end of the handshake.
    pub handshake_timeout: Duration,
}

impl Default for AcceptLimits {
    fn default() -> Self {
        Self { max_connections: 1024, max_handshakes: 128, handshake_timeout: Duration::from_secs(10) }
    }
}

/// Accepts connections until `shutdown`; then the listener is closed and handshakes in flight are dropped.
///
/// Every item is `Ok`: a failure concerns one client, is counted and logged, and ends nothing.
pub fn accept(
    listener: TcpListener,
    config: Arc<ServerConfig>,
    limits: AcceptLimits,
    metrics: ConnectionMetrics,
    shutdown: CancellationToken,
) -> impl Stream<Item = io::Result<Connection>> + Send {
    let acceptor = Acceptor {
        listener: Listener::new(listener),
        handshake: Handshake { acceptor: config.into(), timeout: limits.handshake_timeout },
        places: Arc::new(Semaphore::new(limits.max_connections)),
        max_handshakes: limits.max_handshakes,
        handshakes: JoinSet::new(),
        metrics,
    };
    unfold((acceptor, shutdown), |(mut acceptor, shutdown)| async move {
        let next = shutdown.run_until_cancelled(acceptor.next()).await;
        next.map(|connection| (Ok(connection), (acceptor, shutdown)))
    })
}

struct Acceptor {
    listener: Listener,
    handshake: Handshake,
    places: Arc<Semaphore>,
    max_handshakes: usize,
    handshakes: JoinSet<Result<Greeted, Refused>>,
    metrics: ConnectionMetrics,
}

/// A client that is through the handshake.
struct Greeted {
    stream: tokio_rustls::server::TlsStream<TcpStream>,
    peer: Peer,
    place: OwnedSemaphorePermit,
}

/// A client that is not let in.
struct Refused {
    refusal: Refusal,
    address: SocketAddr,
    cause: String,
}

impl Acceptor {
    async fn next(&mut self) -> Connection {
        loop {
            tokio::select! {
                Some(finished) = self.handshakes.join_next() => {
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

    /// Begins the handshake, or closes the connection if there is no room for it.
    fn start(&mut self, stream: TcpStream, address: SocketAddr) {
        let full = |refusal| Refused { refusal, address, cause: "a limit is reached".to_owned() };
        if self.handshakes.len() >= self.max_handshakes {
            return self.refuse(&full(Refusal::TooManyHandshakes));
        }
        match Arc::clone(&self.places).try_acquire_owned() {
            Ok(place) => {
                self.handshakes.spawn(self.handshake.clone().run(stream, address, place));
            }
            Err(_) => self.refuse(&full(Refusal::TooManyConnections)),
        }
    }

    fn finish(&self, finished: Result<Result<Greeted, Refused>, JoinError>) -> Option<Connection> {
        match finished {
            Ok(Ok(Greeted { stream, peer, place })) => {
                debug!(address = %peer.address, user = peer.identity.user, "connected");
                Some(Connection::new(stream, peer, place, self.metrics.open()))
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
            // Port scans and TCP health checks, which are many and harmless.
            Refusal::Disconnected => debug!(%address, reason, cause, "connection refused"),
            Refusal::NoClientCertificate
            | Refusal::UntrustedClientCertificate
            | Refusal::ExpiredClientCertificate
            | Refusal::FutureClientCertificate
            | Refusal::NoIdentity
            | Refusal::RefusedByClient
            | Refusal::Timeout
            | Refusal::Protocol
            | Refusal::TooManyConnections
            | Refusal::TooManyHandshakes
            | Refusal::Io => info!(%address, reason, cause, "connection refused"),
        }
    }
}

/// What each handshake needs.
#[derive(Clone)]
struct Handshake {
    acceptor: TlsAcceptor,
    timeout: Duration,
}

impl Handshake {
    async fn run(
        self,
        stream: TcpStream,
        address: SocketAddr,
        place: OwnedSemaphorePermit,
    ) -> Result<Greeted, Refused> {
        let refused = |refusal, cause: String| Refused { refusal, address, cause };
        tune(&stream).map_err(|error| refused(Refusal::of_handshake(&error), error.to_string()))?;
        let shaken = timeout(self.timeout, self.acceptor.accept(stream).into_fallible())
            .await
            .map_err(|_| refused(Refusal::Timeout, format!("no handshake within {:?}", self.timeout)))?;
        let mut stream = match shaken {
            Ok(stream) => stream,
            Err((error, stream)) => {
                part(stream).await;
                return Err(refused(Refusal::of_handshake(&error), error.to_string()));
            }
        };
        match identify(&stream) {
            Ok(identity) => {
                Ok(Greeted { peer: Peer { address, identity: Arc::new(identity) }, stream, place })
            }
            Err(cause) => {
                // The client is told the end of the connection; if it is gone already, all the better.
                let _ = timeout(LINGER, stream.shutdown()).await;
                Err(refused(Refusal::NoIdentity, cause))
            }
        }
    }
}

fn identify(stream: &tokio_rustls::server::TlsStream<TcpStream>) -> Result<Identity, String> {
    let certificates = stream.get_ref().1.peer_certificates();
    let leaf = certificates.and_then(<[_]>::first).ok_or("no certificate")?;
    Identity::from_certificate(leaf).map_err(|error| error.to_string())
}

/// Small messages go out at once, and a client that vanished without a word is noticed.
fn tune(stream: &TcpStream) -> io::Result<()> {
    stream.set_nodelay(true)?;
    rustix::net::sockopt::set_socket_keepalive(stream, true)?;
    rustix::net::sockopt::set_tcp_keepidle(stream, KEEPALIVE_IDLE)?;
    rustix::net::sockopt::set_tcp_keepintvl(stream, KEEPALIVE_INTERVAL)?;
    rustix::net::sockopt::set_tcp_keepcnt(stream, KEEPALIVE_PROBES)?;
    Ok(())
}

/// Closes a refused connection so that the alert arrives: with unread bytes left, the system would answer them with a
/// reset, which can overtake the alert.
async fn part(mut stream: TcpStream) {
    let farewell = async {
        stream.shutdown().await?;
        tokio::io::copy(&mut stream.take(LINGER_BYTES), &mut tokio::io::sink()).await
    };
    // Whether the client listened to the end makes no difference to us.
    let _ = timeout(LINGER, farewell).await;
}
