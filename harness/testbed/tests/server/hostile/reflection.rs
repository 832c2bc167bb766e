//! Reflection gives long answers to short questions, and as many on one stream as somebody asks.

use replica_count_testbed::frames::{self, DATA, INITIAL_WINDOW_SIZE, MAX_WINDOW, REFLECTION, frame};
use tokio::io::AsyncWriteExt as _;

use super::siege::Siege;
use crate::scene::eventually;

/// With those of each, as many requests as one user may have under way.
const CONNECTIONS: usize = 4;
const STREAMS: usize = 60;
/// All questions of a connection together fit into its window, so they arrive whether answers are read or not.
const QUESTIONS: usize = 25;
/// As much as one user may have, and what is made while it is reached.
const MEBIBYTES: usize = 64;

/// The field of `ServerReflectionRequest` that asks for the file of a symbol.
const SYMBOL: u8 = 4;

/// `ServerReflectionRequest` with one field.
fn question(field: u8, text: &str) -> Vec<u8> {
    [&[field << 3 | 2], frames::varint(text.len()).as_slice(), text.as_bytes()].concat()
}

/// Asks a question on many streams, so many times on each.
fn ask(question: &[u8], times: usize) -> Vec<u8> {
    let questions = frames::message(question).repeat(times);
    let stream = |id| [frames::call(id, REFLECTION), frame(DATA, 0, id, &questions)].concat();
    frames::streams().take(STREAMS).flat_map(stream).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn answers_that_nobody_reads_are_bounded() {
    let mut siege = Siege::new().await;
    let long = ask(&question(SYMBOL, "proto.DeploymentsService"), QUESTIONS);
    let deep = ask(&question(SYMBOL, &"a.".repeat(500)), 1);
    siege
        .withstand(MEBIBYTES, async |siege| {
            let mut connections = Vec::new();
            for asked in [&deep].into_iter().chain([&long; CONNECTIONS]) {
                let mut stream = siege.connect().await;
                // The server may send as much as it likes, and nobody reads.
                stream.write_all(&frames::preface(&[(INITIAL_WINDOW_SIZE, MAX_WINDOW)])).await.unwrap();
                stream.write_all(asked).await.unwrap();
                connections.push(stream);
            }
            eventually("answers are refused", async || {
                match siege.metric("requests_refused_total{reason=\"answers\"}").await {
                    0 => Err(0),
                    some => Ok(some),
                }
            })
            .await;
            connections
        })
        .await;
}
