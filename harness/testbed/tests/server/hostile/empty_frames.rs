//! Frames that carry next to nothing and come without end (CVE-2019-9512 to 9518).

use std::time::Duration;

use replica_count_testbed::frames::{
    self, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, HEADERS, PING, PRIORITY, REFLECTION, SETTINGS,
    WINDOW_UPDATE, frame,
};
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, timeout};

use super::siege::{ATTACK, Siege};

/// What the server answers a flood with.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    /// It closes the connection.
    Goaway(u32),
    /// It reads on, or no more until its answers are read, but keeps nothing.
    Patience,
}

/// Sends `first`, and then `more` again and again.
async fn flood(siege: &Siege, first: &[u8], more: &[u8], answer: Answer) {
    let mut stream = siege.connect_http2().await;
    stream.write_all(first).await.unwrap();
    let (more, end) = (more.repeat(2000), Instant::now() + ATTACK / 4);
    let writing = async { while Instant::now() < end && stream.write_all(&more).await.is_ok() {} };
    // A server that waits for its answers to be read blocks the writer.
    let _ = timeout(end - Instant::now() + Duration::from_millis(1), writing).await;
    if let Answer::Goaway(code) = answer {
        assert_eq!(frames::goaway(&mut stream).await, Some(code));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_empty_frames_cost_nothing() {
    let open = frames::call(1, REFLECTION);
    let broken: Vec<u8> = frames::streams()
        .take(2000)
        .flat_map(|id| frame(HEADERS, END_HEADERS | END_STREAM, id, b""))
        .collect();
    let calm = Answer::Goaway(ENHANCE_YOUR_CALM);
    let cases: [(&str, &[u8], Vec<u8>, Answer); 7] = [
        ("DATA", &open, frame(DATA, 0, 1, b""), calm),
        ("tiny DATA", &open, frame(DATA, 0, 1, b"\0"), calm),
        ("HEADERS", &[], broken, calm),
        ("SETTINGS", &[], frame(SETTINGS, 0, 0, b""), Answer::Patience),
        ("PING", &[], frame(PING, 0, 0, &[0; 8]), Answer::Patience),
        ("PRIORITY", &[], frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1]), Answer::Patience),
        ("WINDOW_UPDATE", &open, frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes()), Answer::Patience),
    ];
    let mut siege = Siege::new().await;
    for (what, first, more, answer) in cases {
        println!("{what}");
        siege.withstand(16, async |siege| flood(siege, first, &more, answer).await).await;
    }
}
