//! Thousands of connections: strangers, and one user who opens as many as he can.

use std::io;

use futures_util::{StreamExt as _, stream};
use replica_count_testbed::manager;

use super::siege::Siege;

const STRANGERS: usize = 2000;
/// More than one user may have.
const CONNECTIONS: usize = 300;
/// What one user may have.
const OF_ONE_USER: u64 = 256;
/// How many handshakes the attacker makes at a time.
const AT_A_TIME: usize = 16;

#[tokio::test(flavor = "multi_thread")]
async fn a_crowd_keeps_nobody_out() {
    let mut siege = Siege::new().await;
    siege
        .withstand(24, async |siege| {
            let mut strangers = Vec::new();
            for _ in 0..STRANGERS {
                strangers.push(manager::intrude(siege.manager.grpc_address()).await.unwrap());
            }
            // Those over the limit end with the handshake or after it.
            let connections: Vec<io::Result<_>> = stream::iter(0..CONNECTIONS)
                .map(|_| siege.try_connect())
                .buffer_unordered(AT_A_TIME)
                .collect()
                .await;
            // Those of the good client come on top.
            let open = siege.metric("connections_open").await;
            assert!((OF_ONE_USER..OF_ONE_USER + 10).contains(&open), "{open}");
            (strangers, connections)
        })
        .await;
    assert!(siege.metric("connections_refused_total{reason=\"too_many_connections\"}").await > 0);
}
