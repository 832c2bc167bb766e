//! Connections that begin a handshake and stop.

use replica_count_testbed::manager;
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use super::attacked_server::{ATTACK_DURATION, AttackedServer};

/// Several times the limit of pending handshakes.
const PENDING: usize = 500;

#[tokio::test(flavor = "multi_thread")]
async fn slow_handshakes_lock_nobody_out() {
    let mut server = AttackedServer::new().await;
    server
        .withstand(16, async |server| {
            let end = Instant::now() + ATTACK_DURATION;
            loop {
                let mut connections = Vec::new();
                for _ in 0..PENDING {
                    let mut stream =
                        manager::connect_without_handshake(server.manager.grpc_address()).await.unwrap();
                    // The server may have closed the connection already.
                    let _ = stream.write_u8(manager::HANDSHAKE).await;
                    connections.push(stream);
                }
                if Instant::now() >= end {
                    return connections;
                }
            }
        })
        .await;
    let refused = server.metric("connections_refused_total{reason=\"too_many_handshakes\"}").await;
    assert!(refused > 0);
}
