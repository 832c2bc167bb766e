//! A client's connection after the handshake, and the [`Peer`] that tonic attaches to every request. The connection
//! ends when the client is no longer trusted.

use std::fmt::{self, Debug};
use std::io::{self, IoSlice};
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio_rustls::server::TlsStream;
use tonic::transport::server::Connected;
use tracing::info;

use super::identity::Identity;
use super::metrics::OpenConnection;
use super::refusal::Refusal;
use crate::net::quota::Share;

/// The client of a connection. Each request carries it as an extension.
#[derive(Clone, Debug)]
pub struct Peer {
    /// The client's address.
    pub address: SocketAddr,
    /// The identity in the client's certificate.
    pub identity: Arc<Identity>,
}

/// An open connection of an authenticated client. Dropping it closes it and frees its slot.
pub struct Connection {
    stream: TlsStream<TcpStream>,
    peer: Peer,
    trust: Trust,
    _slot: Share,
    open: OpenConnection,
}

/// Whether the client is still trusted.
enum Trust {
    /// Trusted until this is ready.
    Until(BoxFuture<'static, Refusal>),
    Lost,
}

impl Connection {
    pub(super) fn new(
        stream: TlsStream<TcpStream>,
        peer: Peer,
        distrusted: impl Future<Output = Refusal> + Send + 'static,
        slot: Share,
        open: OpenConnection,
    ) -> Self {
        Self { stream, peer, trust: Trust::Until(distrusted.boxed()), _slot: slot, open }
    }

    /// The client.
    pub fn peer(&self) -> &Peer {
        &self.peer
    }

    /// Fails once the client is no longer trusted. Every read and write calls this first. The task that serves the
    /// connection always waits for one of them, so it is woken.
    fn check_trust(&mut self, cx: &mut Context<'_>) -> io::Result<()> {
        if let Trust::Until(distrusted) = &mut self.trust {
            let Poll::Ready(refusal) = distrusted.poll_unpin(cx) else { return Ok(()) };
            self.trust = Trust::Lost;
            self.open.end(refusal);
            let Peer { address, identity } = &self.peer;
            info!(%address, user = &*identity.user, reason = refusal.reason(), "connection ended");
        }
        Err(io::Error::new(io::ErrorKind::ConnectionAborted, "the client is no longer trusted"))
    }
}

impl Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection").field("peer", &self.peer).finish_non_exhaustive()
    }
}

impl Connected for Connection {
    type ConnectInfo = Peer;

    fn connect_info(&self) -> Self::ConnectInfo {
        self.peer.clone()
    }
}

impl AsyncRead for Connection {
    fn poll_read(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        buf: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        self.check_trust(cx)?;
        Pin::new(&mut self.stream).poll_read(cx, buf)
    }
}

impl AsyncWrite for Connection {
    fn poll_write(mut self: Pin<&mut Self>, cx: &mut Context<'_>, buf: &[u8]) -> Poll<io::Result<usize>> {
        self.check_trust(cx)?;
        Pin::new(&mut self.stream).poll_write(cx, buf)
    }

    fn poll_write_vectored(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
        bufs: &[IoSlice<'_>],
    ) -> Poll<io::Result<usize>> {
        self.check_trust(cx)?;
        Pin::new(&mut self.stream).poll_write_vectored(cx, bufs)
    }

    fn is_write_vectored(&self) -> bool {
        self.stream.is_write_vectored()
    }

    fn poll_flush(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.check_trust(cx)?;
        Pin::new(&mut self.stream).poll_flush(cx)
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        Pin::new(&mut self.stream).poll_shutdown(cx)
    }
}
