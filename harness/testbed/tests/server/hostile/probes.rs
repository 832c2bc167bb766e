//! Idle connections on the HTTP port, which requires no certificate.

use replica_count_testbed::manager;
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use super::attacked_server::{ATTACK_DURATION, AttackedServer};

/// Several times the port's limit.
const IDLE: usize = 300;

#[tokio::test(flavor = "multi_thread")]
async fn idle_connections_do_not_block_probes() {
    let mut server = AttackedServer::new().await;
    server
        .withstand(16, async |server| {
            let end = Instant::now() + ATTACK_DURATION;
            loop {
                let mut connections = Vec::new();
                for n in 0..IDLE {
                    let mut stream =
                        manager::connect_without_handshake(server.manager.http_address()).await.unwrap();
                    let header = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n", "x".repeat(n * 100));
                    // Half send nothing, half an unfinished request. The server may have closed the connection already.
                    let _ = stream.write_all(if n % 2 == 0 { b"" } else { header.as_bytes() }).await;
                    connections.push(stream);
                }
                if Instant::now() >= end {
                    return connections;
                }
            }
        })
        .await;
}
