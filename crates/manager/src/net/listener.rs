//! Accepting without ever giving up: what both ports do with a failed `accept`.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};

/// How long to leave the operating system alone after a failure. Most are a lack of file descriptors or memory, and
/// `accept` would fail again at once, for ever.
const PAUSE: Duration = Duration::from_millis(100);

/// A bound listener that pauses after a failure.
#[derive(Debug)]
pub(crate) struct Listener {
    listener: TcpListener,
    paused_until: Option<Instant>,
}

impl Listener {
    pub(crate) fn new(listener: TcpListener) -> Self {
        Self { listener, paused_until: None }
    }

    /// The next connection. An error concerns one connection or a moment, never the listener: count it, log it, and
    /// call again. May be dropped at any time without losing a connection or the pause.
    pub(crate) async fn accept(&mut self) -> io::Result<(TcpStream, SocketAddr)> {
        if let Some(until) = self.paused_until {
            sleep_until(until).await;
            self.paused_until = None;
        }
        let accepted = self.listener.accept().await;
        if accepted.is_err() {
            self.paused_until = Some(Instant::now() + PAUSE);
        }
        accepted
    }
}
