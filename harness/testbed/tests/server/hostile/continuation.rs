//! Headers that never end (CVE-2024-27316 and its relatives).

use replica_count_testbed::frames::{self, CONTINUATION, HEADERS, frame};
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use super::siege::{ATTACK, Siege};

/// Far more than all headers of a request may have.
const FRAMES: usize = 2000;

#[tokio::test(flavor = "multi_thread")]
async fn endless_headers_end_the_connection() {
    let mut siege = Siege::new().await;
    let value = "x".repeat(16_000);
    for (what, fragment) in
        [("large", frames::header("name", &value)), ("small", frames::header("n", "")), ("empty", Vec::new())]
    {
        siege
            .withstand(16, async |siege| {
                let more = frame(CONTINUATION, 0, 1, &fragment).repeat(FRAMES);
                let end = Instant::now() + ATTACK / 3;
                while Instant::now() < end {
                    let mut stream = siege.connect_http2().await;
                    stream.write_all(&frame(HEADERS, 0, 1, b"")).await.unwrap();
                    // It may end before all is written.
                    let _ = stream.write_all(&more).await;
                    assert!(frames::goaway(&mut stream).await.is_some_and(|code| code != 0), "{what}");
                }
            })
            .await;
    }
}
