//! Requests that are taken back at once, so that they cost the server much and the client nothing (CVE-2023-44487).

use replica_count_testbed::frames::{self, ENHANCE_YOUR_CALM};
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::siege::{ATTACK, Siege};

const CONNECTIONS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn rapid_resets_end_the_connection() {
    let mut siege = Siege::new().await;
    siege
        .withstand(16, async |siege| {
            let mut stream = siege.connect_http2().await;
            // It may end before all is written.
            let _ = stream.write_all(&frames::resets(1000)).await;
            assert_eq!(frames::goaway(&mut stream).await, Some(ENHANCE_YOUR_CALM));

            let end = Instant::now() + ATTACK;
            let sent = frames::resets(5000);
            while Instant::now() < end {
                let mut attackers = JoinSet::new();
                for _ in 0..CONNECTIONS {
                    let (mut stream, sent) = (siege.connect_http2().await, sent.clone());
                    // It fails when the server has had enough.
                    attackers.spawn(async move { stream.write_all(&sent).await.is_err() });
                }
                attackers.join_all().await;
            }
        })
        .await;
}
