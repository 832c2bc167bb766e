//! From a bound listener to a stream of connections of known clients.
//!
//! The loop never waits for one client: each handshake is a task of its own, and the loop owns them all. Whatever a
//! peer can make grow is bounded: handshakes and their time, and the connections of all users and of each.

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
use tokio::time::timeout;
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

/// When nothing is heard of a client for this long, TCP asks whether it is still there.
const KEEPALIVE_IDLE: Duration = Duration::from_mins(1);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(15);
const KEEPALIVE_PROBES: u32 = 4;

/// How long, and for how many bytes, a refused client is listened to, so that it can read why.
const LINGER: Duration = Duration::from_secs(1);
const LINGER_BYTES: u64 = 64 * 1024;

/// What peers may use up.
#[derive(Clone, Copy, Debug)]
pub struct AcceptLimits {
    /// Open connections of known clients.
    pub max_connections: usize,
    /// Of these, those of one user.
    pub max_connections_of_user: usize,
    /// Connections in the handshake: those of strangers. For one more, the oldest is closed.
    pub max_handshakes: usize,
    /// Time from the connection to the end of the handshake.
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
/// Every item is `Ok`: a failure concerns one client, is counted and logged, and ends nothing.
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
        places: Quota::new(limits.max_connections, limits.max_connections_of_user),
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
    places: Arc<Quota>,
    handshakes: Pending<Result<Greeted, Refused>>,
    metrics: ConnectionMetrics,
}

/// A client that is through the handshake and has a place.
struct Greeted {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    chain: Chain,
    credentials: watch::Receiver<Credentials>,
    place: Share,
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

    /// Begins the handshake.
    fn start(&mut self, stream: TcpStream, address: SocketAddr) {
        let handshake = Handshake {
            address,
            timeout: self.handshake_timeout,
            credentials: self.credentials.clone(),
            places: Arc::clone(&self.places),
        };
        if let Some(oldest) = self.handshakes.admit(address, handshake.run(stream)) {
            let cause = "a newer one took its place".to_owned();
            self.refuse(&Refused { refusal: Refusal::TooManyHandshakes, address: oldest, cause });
        }
    }

    fn finish(&self, finished: Result<Result<Greeted, Refused>, JoinError>) -> Option<Connection> {
        match finished {
            Ok(Ok(Greeted { stream, peer, chain, credentials, place })) => {
                debug!(address = %peer.address, user = &*peer.identity.user, "connected");
                let distrusted = chain.until_distrusted(credentials);
                Some(Connection::new(stream, peer, distrusted, place, self.metrics.open()))
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
            // Port scans and TCP health checks, which are many and harmless; and those who come in crowds.
            Refusal::Disconnected | Refusal::TooManyHandshakes => {
                debug!(%address, reason, cause, "connection refused");
            }
            Refusal::NoClientCertificate
            | Refusal::UntrustedClientCertificate
            | Refusal::ExpiredClientCertificate
            | Refusal::FutureClientCertificate
            | Refusal::NoIdentity
            | Refusal::RefusedByClient
            | Refusal::Timeout
            | Refusal::Protocol
            | Refusal::TooManyConnections
            | Refusal::Io => info!(%address, reason, cause, "connection refused"),
        }
    }
}

/// One client's way to a connection.
struct Handshake {
    address: SocketAddr,
    timeout: Duration,
    credentials: watch::Receiver<Credentials>,
    places: Arc<Quota>,
}

impl Handshake {
    async fn run(mut self, stream: TcpStream) -> Result<Greeted, Refused> {
        let address = self.address;
        let refused = |refusal, cause: String| Refused { refusal, address, cause };
        tune(&stream).map_err(|error| refused(Refusal::of_handshake(&error), error.to_string()))?;
        let acceptor = TlsAcceptor::from(Arc::clone(&self.credentials.borrow_and_update().server));
        let shaken = timeout(self.timeout, acceptor.accept(stream).into_fallible())
            .await
            .map_err(|_| refused(Refusal::Timeout, format!("no handshake within {:?}", self.timeout)))?;
        let mut stream = match shaken {
            Ok(stream) => stream,
            Err((error, stream)) => {
                part(stream).await;
                return Err(refused(Refusal::of_handshake(&error), error.to_string()));
            }
        };
        match self.greet(&stream) {
            Ok((peer, chain, place)) => {
                Ok(Greeted { stream, peer, chain, credentials: self.credentials, place })
            }
            Err((refusal, cause)) => {
                // The client is told the end of the connection; if it is gone already, all the better.
                let _ = timeout(LINGER, stream.shutdown()).await;
                Err(refused(refusal, cause))
            }
        }
    }

    /// Who the client is, and a place for it.
    fn greet(&self, stream: &TlsStream<TcpStream>) -> Result<(Peer, Chain, Share), (Refusal, String)> {
        let nobody = |cause: String| (Refusal::NoIdentity, cause);
        let shown = stream.get_ref().1.peer_certificates().and_then(Chain::new);
        let chain = shown.ok_or_else(|| nobody("no certificate".to_owned()))?;
        let identity = Identity::from_certificate(chain.leaf()).map_err(|error| nobody(error.to_string()))?;
        let place = self.places.take(&identity.user, 1);
        let place = place.map_err(|exhausted| (Refusal::TooManyConnections, exhausted.to_string()))?;
        Ok((Peer { address: self.address, identity: Arc::new(identity) }, chain, place))
    }
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
