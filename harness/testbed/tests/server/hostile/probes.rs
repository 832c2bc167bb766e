//! Strangers on the HTTP port, which anybody can reach that a probe comes from.

use replica_count_testbed::manager;
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use super::siege::{ATTACK, Siege};

/// Several times as many as the port has places.
const STRANGERS: usize = 300;

#[tokio::test(flavor = "multi_thread")]
async fn strangers_keep_no_probe_out() {
    let mut siege = Siege::new().await;
    siege
        .withstand(16, async |siege| {
            let end = Instant::now() + ATTACK;
            loop {
                let mut strangers = Vec::new();
                for n in 0..STRANGERS {
                    let mut stream = manager::intrude(siege.manager.http_address()).await.unwrap();
                    let header = format!("GET /metrics HTTP/1.1\r\nX: {}\r\n", "x".repeat(n * 100));
                    // Some say nothing, and some do not end. It may have been closed already.
                    let _ = stream.write_all(if n % 2 == 0 { b"" } else { header.as_bytes() }).await;
                    strangers.push(stream);
                }
                if Instant::now() >= end {
                    return strangers;
                }
            }
        })
        .await;
}
