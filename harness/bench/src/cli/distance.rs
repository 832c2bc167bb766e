//! A way to a server on which everything takes a while, as from far away. Connections are opened at once.

use std::net::{Ipv4Addr, SocketAddr};
use std::time::Duration;

use anyhow::Result;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;
use tokio::time::{self, Instant};

/// Pieces that are on the way.
const QUEUE: usize = 1024;

/// Relays connections until it is dropped.
pub(super) struct Distance {
    address: SocketAddr,
    relay: AbortHandle,
}

impl Distance {
    /// Everything arrives `delay` after it was sent, in both directions.
    pub(super) async fn start(server: SocketAddr, delay: Duration) -> Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let address = listener.local_addr()?;
        let relay = tokio::spawn(async move {
            while let Ok((near, _)) = listener.accept().await {
                tokio::spawn(relay(near, server, delay));
            }
        });
        Ok(Self { address, relay: relay.abort_handle() })
    }

    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }
}

impl Drop for Distance {
    fn drop(&mut self) {
        self.relay.abort();
    }
}

async fn relay(near: TcpStream, server: SocketAddr, delay: Duration) -> std::io::Result<()> {
    let far = TcpStream::connect(server).await?;
    // Otherwise the kernel would add delays of its own.
    for stream in [&near, &far] {
        stream.set_nodelay(true)?;
    }
    let (near_read, near_write) = near.into_split();
    let (far_read, far_write) = far.into_split();
    tokio::join!(carry(near_read, far_write, delay), carry(far_read, near_write, delay));
    Ok(())
}

/// Carries everything until either side ends.
async fn carry(mut from: impl AsyncRead + Unpin, mut to: impl AsyncWrite + Unpin, delay: Duration) {
    let (sender, mut receiver) = mpsc::channel::<(Instant, Vec<u8>)>(QUEUE);
    let read = async move {
        let mut buffer = vec![0; 16 * 1024];
        while let Ok(length @ 1..) = from.read(&mut buffer).await {
            if sender.send((Instant::now() + delay, buffer[..length].to_vec())).await.is_err() {
                return;
            }
        }
    };
    let write = async move {
        while let Some((at, piece)) = receiver.recv().await {
            time::sleep_until(at).await;
            if to.write_all(&piece).await.is_err() {
                return;
            }
        }
        let _ = to.shutdown().await;
    };
    tokio::join!(read, write);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn an_answer_takes_both_ways() {
        const DELAY: Duration = Duration::from_millis(50);
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let distance = Distance::start(listener.local_addr().unwrap(), DELAY).await.unwrap();
        let started = Instant::now();
        let mut near = TcpStream::connect(distance.address()).await.unwrap();
        near.write_all(b"a").await.unwrap();
        let (mut far, _) = listener.accept().await.unwrap();
        assert_eq!(far.read_u8().await.unwrap(), b'a');
        far.write_all(b"b").await.unwrap();
        assert_eq!(near.read_u8().await.unwrap(), b'b');
        assert!(started.elapsed() >= 2 * DELAY);
        drop(near);
        assert_eq!(far.read(&mut [0]).await.unwrap(), 0);
    }
}
