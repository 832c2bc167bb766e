//! Clients that request much and read nothing.

use replica_count_testbed::frames::{self, HEALTH_WATCH, INITIAL_WINDOW_SIZE, LIST};
use tokio::io::AsyncWriteExt as _;
use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;

use super::attacked_server::AttackedServer;
use crate::fixture::eventually;

/// A list of them takes half a megabyte, and all lists together exceed the limit of one user.
const SETTINGS: usize = 2_000;
const STREAMS: usize = 100;
/// The limit of one user, plus what it takes to build the last answers.
const MEBIBYTES: usize = 48;

/// Makes a call on many streams, with a window of `window` bytes for each, and reads nothing.
async fn ask(server: &AttackedServer, path: &str, window: u32) -> TlsStream<TcpStream> {
    let calls: Vec<u8> =
        frames::streams().take(STREAMS).flat_map(|id| frames::whole_call(id, path)).collect();
    let mut stream = server.connect().await;
    stream.write_all(&frames::preface(&[(INITIAL_WINDOW_SIZE, window)])).await.unwrap();
    stream.write_all(&calls).await.unwrap();
    stream
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_wait_are_bounded() {
    for window in [0, frames::MAX_WINDOW] {
        let mut server = AttackedServer::with_settings(SETTINGS).await;
        server
            .withstand(MEBIBYTES, async |server| {
                let connection = ask(server, LIST, window).await;
                eventually("answers are refused", async || {
                    match server.metric("requests_refused_total{reason=\"answers\"}").await {
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
async fn an_unread_stream_is_cheap() {
    let mut server = AttackedServer::new().await;
    server.withstand(16, async |server| ask(server, HEALTH_WATCH, 0).await).await;
}
