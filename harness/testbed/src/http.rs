//! A minimal HTTP GET.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::time;

const TIMEOUT: Duration = Duration::from_secs(10);

/// Returns the status and the body of the answer.
pub async fn get(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    time::timeout(TIMEOUT, exchange(address, path))
        .await
        .with_context(|| format!("no answer to GET {path} within {TIMEOUT:?}"))?
        .with_context(|| format!("GET {path}"))
}

/// Uses HTTP/1.0, so the answer ends with the connection and is not chunked.
async fn exchange(address: SocketAddr, path: &str) -> Result<(u16, String)> {
    let mut stream = TcpStream::connect(address).await?;
    stream.write_all(format!("GET {path} HTTP/1.0\r\nHost: {address}\r\n\r\n").as_bytes()).await?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await?;
    let (head, body) = answer.split_once("\r\n\r\n").context("the answer has no end of headers")?;
    let status =
        head.split(' ').nth(1).and_then(|status| status.parse().ok()).context("the answer has no status")?;
    Ok((status, body.to_owned()))
}
