//! Messages and headers that are too large, or claim to be.

use replica_count_testbed::frames::{
    self, CONTINUATION, DATA, END_HEADERS, HEADERS, LIST, REFLECTION, RST_STREAM, Received, SET, frame,
};
use tokio::io::AsyncWriteExt as _;
use tokio::time::Instant;

use super::attacked_server::{ATTACK_DURATION, AttackedServer};

/// Waits until the stream is ended, by an answer or a reset.
async fn wait_until_ended(stream: &mut (impl tokio::io::AsyncRead + Unpin), id: u32) {
    loop {
        let Received { kind, flags, stream: ended, .. } = frames::receive(stream).await.unwrap();
        if ended == id && (kind == RST_STREAM || flags & frames::END_STREAM != 0) {
            return;
        }
    }
}

/// Headers with a value of `bytes` bytes.
fn large_headers(stream: u32, bytes: usize) -> Vec<u8> {
    let block = [frames::call_headers(LIST), frames::header("x", &"x".repeat(bytes))].concat();
    let (first, rest) = block.split_at(16_000);
    let more: Vec<u8> = rest.chunks(16_000).flat_map(|chunk| frame(CONTINUATION, 0, stream, chunk)).collect();
    [frame(HEADERS, 0, stream, first), more, frame(CONTINUATION, END_HEADERS, stream, b"")].concat()
}

#[tokio::test(flavor = "multi_thread")]
async fn oversized_messages_and_headers_are_refused() {
    // The length prefix is enough: the server does not wait for the message.
    let message = |stream, path, bytes: u32| {
        let message = [&[0], &bytes.to_be_bytes()[..], &[0; 4096]].concat();
        [frames::call(stream, path), frame(DATA, 0, stream, &message)].concat()
    };
    let cases: [&dyn Fn(u32) -> Vec<u8>; 4] = [
        &|stream| message(stream, SET, 64 * 1024 + 1),
        &|stream| message(stream, SET, u32::MAX),
        &|stream| message(stream, REFLECTION, 4 * 1024 + 1),
        &|stream| large_headers(stream, 20_000),
    ];
    let mut server = AttackedServer::new().await;
    for attack in cases {
        server
            .withstand(16, async |server| {
                let mut stream = server.connect_http2().await;
                let end = Instant::now() + ATTACK_DURATION / 4;
                for id in frames::streams().take_while(|_| Instant::now() < end) {
                    stream.write_all(&attack(id)).await.unwrap();
                    wait_until_ended(&mut stream, id).await;
                }
            })
            .await;
    }
}
