//! Reflection gives long answers to short questions, and any number of them on one stream.

use replica_count_testbed::frames::{self, DATA, INITIAL_WINDOW_SIZE, MAX_WINDOW, REFLECTION, frame};
use tokio::io::AsyncWriteExt as _;

use super::attacked_server::AttackedServer;
use crate::fixture::eventually;

/// Together they open as many requests as one user may have in flight.
const CONNECTIONS: usize = 4;
const STREAMS: usize = 60;
/// All questions of a connection fit into its window, so they arrive even if no answer is read.
const QUESTIONS: usize = 25;
/// The limit of one user, plus what is allocated until it takes effect.
const MEBIBYTES: usize = 64;

/// The field of `ServerReflectionRequest` that asks for the file of a symbol.
const SYMBOL: u8 = 4;

/// `ServerReflectionRequest` with one field.
fn question(field: u8, text: &str) -> Vec<u8> {
    [&[field << 3 | 2], frames::varint(text.len()).as_slice(), text.as_bytes()].concat()
}

/// Asks a question on many streams, `times` times on each.
fn ask(question: &[u8], times: usize) -> Vec<u8> {
    let questions = frames::message(question).repeat(times);
    let stream = |id| [frames::call(id, REFLECTION), frame(DATA, 0, id, &questions)].concat();
    frames::streams().take(STREAMS).flat_map(stream).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn unread_reflection_answers_are_bounded() {
    let mut server = AttackedServer::new().await;
    let long = ask(&question(SYMBOL, "proto.DeploymentsService"), QUESTIONS);
    let deep = ask(&question(SYMBOL, &"a.".repeat(500)), 1);
    server
        .withstand(MEBIBYTES, async |server| {
            let mut connections = Vec::new();
            for asked in [&deep].into_iter().chain([&long; CONNECTIONS]) {
                let mut stream = server.connect().await;
                // The window lets the server send everything, but nothing is read.
                stream.write_all(&frames::preface(&[(INITIAL_WINDOW_SIZE, MAX_WINDOW)])).await.unwrap();
                stream.write_all(asked).await.unwrap();
                connections.push(stream);
            }
            eventually("answers are refused", async || {
                match server.metric("requests_refused_total{reason=\"answers\"}").await {
                    0 => Err(0),
                    some => Ok(some),
                }
            })
            .await;
            connections
        })
        .await;
}
