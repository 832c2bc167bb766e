//! A relay of bytes between a server and the API server, which can be cut as a network can: nothing arrives, and nobody is
//! told. What was on its way arrives once it is whole again.

use std::io;
use std::net::{Ipv4Addr, SocketAddr};

use anyhow::{Context as _, Result};
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// Bytes that are relayed at once.
const CHUNK_BYTES: usize = 64 * 1024;

/// A running relay. A drop ends it, with all of its connections.
pub(super) struct Relay {
    address: SocketAddr,
    is_cut: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Relay {
    /// Relays connections from a free port to `to`.
    pub(super) async fn start(to: SocketAddr) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.context("there is no free port")?;
        let address = listener.local_addr()?;
        let (is_cut, cut) = watch::channel(false);
        let accepting = tokio::spawn(async move {
            while let Ok((client, _)) = listener.accept().await {
                tokio::spawn(relay(client, to, cut.clone()));
            }
        });
        Ok(Self { address, is_cut, accepting })
    }

    pub(super) fn url(&self) -> String {
        format!("https://{}", self.address)
    }

    pub(super) fn set_cut(&self, is_cut: bool) {
        self.is_cut.send_replace(is_cut);
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

async fn relay(client: TcpStream, to: SocketAddr, cut: watch::Receiver<bool>) {
    let Ok(server) = TcpStream::connect(to).await else { return };
    let ((from_client, to_client), (from_server, to_server)) = (client.into_split(), server.into_split());
    // Either end may close, and that ends both directions.
    tokio::select! {
        _ = copy(from_client, to_server, cut.clone()) => {}
        _ = copy(from_server, to_client, cut) => {}
    }
}

/// Copies bytes while nothing is cut. Returns when the sender has ended, or the relay was dropped.
async fn copy(
    mut from: impl AsyncRead + Unpin,
    mut to: impl AsyncWrite + Unpin,
    mut cut: watch::Receiver<bool>,
) -> io::Result<()> {
    let mut chunk = vec![0; CHUNK_BYTES];
    loop {
        let read = from.read(&mut chunk).await?;
        if cut.wait_for(|is_cut| !is_cut).await.is_err() || read == 0 {
            return Ok(());
        }
        to.write_all(&chunk[..read]).await?;
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use tokio::time::timeout;

    use super::*;

    #[tokio::test]
    async fn what_was_cut_arrives_later() {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.expect("a port");
        let relay = Relay::start(listener.local_addr().expect("an address")).await.expect("a relay");
        let mut client = TcpStream::connect(relay.address).await.expect("connected");
        let (mut server, _) = listener.accept().await.expect("connected");
        let mut read = [0; 3];
        client.write_all(b"one").await.expect("written");
        server.read_exact(&mut read).await.expect("relayed");
        relay.set_cut(true);
        client.write_all(b"two").await.expect("written");
        let cut = timeout(Duration::from_millis(200), server.read_exact(&mut read)).await;
        assert!(cut.is_err(), "it is cut");
        relay.set_cut(false);
        server.read_exact(&mut read).await.expect("relayed");
        assert_eq!(&read, b"two");
    }
}
