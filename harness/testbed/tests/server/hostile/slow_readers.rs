//! Clients that ask for much and read nothing.

use replica_count_testbed::frames::{self, HEALTH_WATCH, INITIAL_WINDOW_SIZE, LIST};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::siege::Siege;
use crate::scene::eventually;

/// A list of them takes half a megabyte, and all lists together more than one user may have.
const SETTINGS: usize = 2_000;
const STREAMS: usize = 100;
/// As much as one user may have, and what it takes to make the last ones.
const MEBIBYTES: usize = 48;

/// Asks on many streams, with a window of so many bytes for each, and reads nothing.
async fn ask(siege: &Siege, path: &str, window: u32) -> TlsStream<TcpStream> {
    let asked: Vec<u8> =
        frames::streams().take(STREAMS).flat_map(|id| frames::whole_call(id, path)).collect();
    let mut stream = siege.connect().await;
    stream.write_all(&frames::preface(&[(INITIAL_WINDOW_SIZE, window)])).await.unwrap();
    stream.write_all(&asked).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_wait_are_bounded() {
    for window in [0, frames::MAX_WINDOW] {
        let mut siege = Siege::with_settings(SETTINGS).await;
        siege
            .withstand(MEBIBYTES, async |siege| {
                let connection = ask(siege, LIST, window).await;
                eventually("answers are refused", async || {
                    match siege.metric("requests_refused_total{reason=\"answers\"}").await {
                        0 => Err(0),
                        some => Ok(some),
                    }
                })
                .await;
                connection
            })
            .await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_stream_that_nobody_reads_is_cheap() {
    let mut siege = Siege::new().await;
    siege.withstand(16, async |siege| ask(siege, HEALTH_WATCH, 0).await).await;
}
