//! Requests that never end, and silent connections.

use replica_count_testbed::frames::{self, DATA, HEADERS, Received, SET, WINDOW_UPDATE, frame};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::attacked_server::AttackedServer;

/// Together they open more requests than one user may have in flight.
const CONNECTIONS: usize = 3;
const REQUESTS: usize = 100;
const SILENT: usize = 50;

/// The size of the largest accepted message, and how much of it is sent.
const MESSAGE: u32 = 64 * 1024;
const SENT: usize = 15 * 1024;
/// The initial flow-control window of a connection.
const WINDOW: usize = 65_535;

/// Begins many requests on one connection. Returns whether any was refused.
async fn begin(stream: &mut TlsStream<TcpStream>) -> bool {
    let (mut window, mut refused) = (WINDOW, false);
    let head = [&[0], &MESSAGE.to_be_bytes()[..], &[0; SENT]].concat();
    for id in frames::streams().take(REQUESTS) {
        stream.write_all(&frames::call(id, SET)).await.unwrap();
        while window < head.len() {
            let Received { kind, stream, payload, .. } = frames::receive(stream).await.unwrap();
            refused |= kind == HEADERS;
            if kind == WINDOW_UPDATE && stream == 0 {
                window += u32::from_be_bytes(payload.try_into().unwrap()) as usize;
            }
        }
        window -= head.len();
        stream.write_all(&frame(DATA, 0, id, &head)).await.unwrap();
    }
    refused
}

#[tokio::test(flavor = "multi_thread")]
async fn half_open_requests_do_not_block_others() {
    let mut server = AttackedServer::new().await;
    server
        .withstand(24, async |server| {
            let mut silent = Vec::new();
            for _ in 0..SILENT {
                silent.push(server.connect().await);
            }
            let mut connections = Vec::new();
            for number in 1..=CONNECTIONS {
                let mut stream = server.connect_http2().await;
                let refused = begin(&mut stream).await;
                assert_eq!(refused, number == CONNECTIONS, "{number}");
                connections.push(stream);
            }
            (silent, connections)
        })
        .await;
    assert!(server.metric("requests_refused_total{reason=\"requests\"}").await > 0);
}
