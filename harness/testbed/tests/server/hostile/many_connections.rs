//! Thousands of connections: without a handshake, and from one user beyond the limit.

use std::io;

use futures_util::{StreamExt as _, stream};
use replica_count_testbed::manager;

use super::attacked_server::AttackedServer;

const WITHOUT_HANDSHAKE: usize = 2000;
/// More than one user may open.
const CONNECTIONS: usize = 300;
/// The limit of one user.
const MAX_OF_ONE_USER: u64 = 256;
/// How many handshakes the attacker makes concurrently.
const CONCURRENT_HANDSHAKES: usize = 16;

#[tokio::test(flavor = "multi_thread")]
async fn thousands_of_connections_lock_nobody_out() {
    let mut server = AttackedServer::new().await;
    server
        .withstand(24, async |server| {
            let mut pending = Vec::new();
            for _ in 0..WITHOUT_HANDSHAKE {
                pending
                    .push(manager::connect_without_handshake(server.manager.grpc_address()).await.unwrap());
            }
            // Those over the limit are closed during or after the handshake.
            let connections: Vec<io::Result<_>> = stream::iter(0..CONNECTIONS)
                .map(|_| server.try_connect())
                .buffer_unordered(CONCURRENT_HANDSHAKES)
                .collect()
                .await;
            // The good client has a few more.
            let open = server.metric("connections_open").await;
            assert!((MAX_OF_ONE_USER..MAX_OF_ONE_USER + 10).contains(&open), "{open}");
            (pending, connections)
        })
        .await;
    assert!(server.metric("connections_refused_total{reason=\"too_many_connections\"}").await > 0);
}
