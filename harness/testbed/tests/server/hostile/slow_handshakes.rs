//! Strangers that begin a handshake and do not go on.

use replica_count_testbed::manager;
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use super::siege::{ATTACK, Siege};

/// Several times as many as may be in the handshake.
const STRANGERS: usize = 500;

#[tokio::test(flavor = "multi_thread")]
async fn slow_handshakes_keep_nobody_out() {
    let mut siege = Siege::new().await;
    siege
        .withstand(16, async |siege| {
            let end = Instant::now() + ATTACK;
            loop {
                let mut strangers = Vec::new();
                for _ in 0..STRANGERS {
                    let mut stream = manager::intrude(siege.manager.grpc_address()).await.unwrap();
                    // It may have been closed already.
                    let _ = stream.write_u8(manager::HANDSHAKE).await;
                    strangers.push(stream);
                }
                if Instant::now() >= end {
                    return strangers;
                }
            }
        })
        .await;
    let refused = siege.metric("connections_refused_total{reason=\"too_many_handshakes\"}").await;
    assert!(refused > 0);
}
