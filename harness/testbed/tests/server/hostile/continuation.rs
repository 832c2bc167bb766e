//! Endless headers (CVE-2024-27316 and similar).

use replica_count_testbed::frames::{self, CONTINUATION, HEADERS, frame};
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use super::attacked_server::{ATTACK_DURATION, AttackedServer};

/// Far more than the headers of a request may have.
const FRAMES: usize = 2000;

#[tokio::test(flavor = "multi_thread")]
async fn endless_headers_end_the_connection() {
    let mut server = AttackedServer::new().await;
    let value = "x".repeat(16_000);
    for (what, fragment) in
        [("large", frames::header("name", &value)), ("small", frames::header("n", "")), ("empty", Vec::new())]
    {
        server
            .withstand(16, async |server| {
                let more = frame(CONTINUATION, 0, 1, &fragment).repeat(FRAMES);
                let end = Instant::now() + ATTACK_DURATION / 3;
                while Instant::now() < end {
                    let mut stream = server.connect_http2().await;
                    stream.write_all(&frame(HEADERS, 0, 1, b"")).await.unwrap();
                    // The server may close the connection before everything is written.
                    let _ = stream.write_all(&more).await;
                    assert!(frames::goaway(&mut stream).await.is_some_and(|code| code != 0), "{what}");
                }
            })
            .await;
    }
}
