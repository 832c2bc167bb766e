#!/usr/bin/env bash
# hyper-util 0.1.21, `client::legacy::connect::proxy::Tunnel` (HTTP CONNECT).
#
# A proxy that refuses a CONNECT says why in the status of its answer: 403 (not allowed), 502 (cannot reach it), 503 or
# 429 (come back later). The connector passes on only 407, as "proxy authorization required". Every other status becomes
# the same error, "unsuccessful", without the status or the proxy's text, also not in its sources. So a client can neither
# say why nor tell a refusal for good from one for a moment.
#
# Expected here: 403, 502 and 503 give the same words, and none of them contains the status. Fails if that changes.
#
# Needs cargo and access to its registry.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
cd "$folder"
mkdir src
cat >Cargo.toml <<'TOML'
[package]
name = "finding"
version = "0.0.0"
edition = "2024"

[dependencies]
http = "=1.4.0"
hyper-util = { version = "=0.1.21", default-features = false, features = ["client-legacy", "client-proxy", "tokio"] }
tokio = { version = "1", features = ["rt", "net", "io-util", "macros"] }
tower-service = "0.3"
TOML
cat >src/main.rs <<'RUST'
use std::error::Error;

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::Tunnel;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;
use tower_service::Service;

/// What the connector says of a proxy that answers with this status line: the error and all its sources.
async fn words(status: &'static str) -> String {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let proxy = format!("http://{}", listener.local_addr().unwrap()).parse().unwrap();
    tokio::spawn(async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let mut request = [0; 1024];
        let _ = stream.read(&mut request).await.unwrap();
        let answer = format!("HTTP/1.1 {status}\r\nContent-Length: 0\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
    });
    let mut tunnel = Tunnel::new(proxy, HttpConnector::new());
    let error = tunnel.call("https://api.example.com:6443".parse().unwrap()).await.err().expect("refused");
    let mut words = format!("{error} / {error:?}");
    let mut source = error.source();
    while let Some(error) = source {
        words += &format!(": {error} / {error:?}");
        source = error.source();
    }
    words
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let mut all = Vec::new();
    for status in ["403 Forbidden", "502 Bad Gateway", "503 Service Unavailable", "407 Proxy Authentication Required"] {
        let words = words(status).await;
        println!("{status}: {words}");
        all.push(words);
    }
    assert!(all[0] == all[1] && all[1] == all[2], "they are told apart now");
    assert!(all[0] != all[3], "407 is told apart");
    assert!(!all.iter().any(|words| ["403", "502", "503"].iter().any(|code| words.contains(code))), "the status is shown now");
}
RUST
cargo run --quiet
echo 'As described.'
