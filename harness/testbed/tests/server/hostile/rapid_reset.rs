//! Requests that are cancelled immediately, which costs the server much and the client nothing (CVE-2023-44487).

use replica_count_testbed::frames::{self, ENHANCE_YOUR_CALM};
use tokio::io::AsyncWriteExt as _;
use tokio::task::JoinSet;
use tokio::time::Instant;

use super::attacked_server::{ATTACK_DURATION, AttackedServer};

const CONNECTIONS: usize = 4;

#[tokio::test(flavor = "multi_thread")]
async fn rapid_resets_end_the_connection() {
    let mut server = AttackedServer::new().await;
    server
        .withstand(16, async |server| {
            let mut stream = server.connect_http2().await;
            // The server may close the connection before everything is written.
            let _ = stream.write_all(&frames::resets(1000)).await;
            assert_eq!(frames::goaway(&mut stream).await, Some(ENHANCE_YOUR_CALM));

            let end = Instant::now() + ATTACK_DURATION;
            let sent = frames::resets(5000);
            while Instant::now() < end {
                let mut attackers = JoinSet::new();
                for _ in 0..CONNECTIONS {
                    let (mut stream, sent) = (server.connect_http2().await, sent.clone());
                    // Fails once the server closes the connection.
                    attackers.spawn(async move { stream.write_all(&sent).await.is_err() });
                }
                attackers.join_all().await;
            }
        })
        .await;
}
