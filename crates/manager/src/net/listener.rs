//! A listener that survives failures of `accept`, for both ports.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::{TcpListener, TcpStream};
use tokio::time::{Instant, sleep_until};

/// How long to pause after a failure. Most failures are a lack of file descriptors or memory, and `accept` would fail
/// again immediately.
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

    /// Accepts the next connection. An error affects one connection or is temporary, so count it, log it, and call this
    /// again. Cancel safe: no connection is lost, and the pause is kept.
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
