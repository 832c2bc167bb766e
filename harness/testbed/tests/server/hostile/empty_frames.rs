//! Endless floods of nearly empty frames (CVE-2019-9512 to 9518).

use std::time::Duration;

use replica_count_testbed::frames::{
    self, DATA, END_HEADERS, END_STREAM, ENHANCE_YOUR_CALM, HEADERS, PING, PRIORITY, REFLECTION, SETTINGS,
    WINDOW_UPDATE, frame,
};
use tokio::io::AsyncWriteExt as _;
use tokio::time::{Instant, timeout};

use super::attacked_server::{ATTACK_DURATION, AttackedServer};

/// How the server reacts to a flood.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Reaction {
    /// It closes the connection.
    Goaway(u32),
    /// It keeps reading, or pauses until its answers are read, but stores nothing.
    Tolerate,
}

/// Sends `first`, then `more` repeatedly.
async fn flood(server: &AttackedServer, first: &[u8], more: &[u8], reaction: Reaction) {
    let mut stream = server.connect_http2().await;
    stream.write_all(first).await.unwrap();
    let (more, end) = (more.repeat(2000), Instant::now() + ATTACK_DURATION / 4);
    let writing = async { while Instant::now() < end && stream.write_all(&more).await.is_ok() {} };
    // The writer blocks if the server waits for its answers to be read.
    let _ = timeout(end - Instant::now() + Duration::from_millis(1), writing).await;
    if let Reaction::Goaway(code) = reaction {
        assert_eq!(frames::goaway(&mut stream).await, Some(code));
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn floods_of_empty_frames_are_harmless() {
    let open = frames::call(1, REFLECTION);
    let broken: Vec<u8> = frames::streams()
        .take(2000)
        .flat_map(|id| frame(HEADERS, END_HEADERS | END_STREAM, id, b""))
        .collect();
    let calm = Reaction::Goaway(ENHANCE_YOUR_CALM);
    let cases: [(&str, &[u8], Vec<u8>, Reaction); 7] = [
        ("DATA", &open, frame(DATA, 0, 1, b""), calm),
        ("tiny DATA", &open, frame(DATA, 0, 1, b"\0"), calm),
        ("HEADERS", &[], broken, calm),
        ("SETTINGS", &[], frame(SETTINGS, 0, 0, b""), Reaction::Tolerate),
        ("PING", &[], frame(PING, 0, 0, &[0; 8]), Reaction::Tolerate),
        ("PRIORITY", &[], frame(PRIORITY, 0, 1, &[0, 0, 0, 3, 1]), Reaction::Tolerate),
        ("WINDOW_UPDATE", &open, frame(WINDOW_UPDATE, 0, 1, &1_u32.to_be_bytes()), Reaction::Tolerate),
    ];
    let mut server = AttackedServer::new().await;
    for (what, first, more, reaction) in cases {
        println!("{what}");
        server.withstand(16, async |server| flood(server, first, &more, reaction).await).await;
    }
}
