//! Raw HTTP/2 frames (RFC 9113), for requests that no library would send.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::timeout;

/// Frame type: part of a message.
pub const DATA: u8 = 0;
/// Frame type: headers or trailers of a stream.
pub const HEADERS: u8 = 1;
/// Frame type: stream priority; deprecated.
pub const PRIORITY: u8 = 2;
/// Frame type: aborts a stream.
pub const RST_STREAM: u8 = 3;
/// Frame type: settings for the other side.
pub const SETTINGS: u8 = 4;
/// Frame type: asks for the same frame as an answer.
pub const PING: u8 = 6;
/// Frame type: ends a connection.
pub const GOAWAY: u8 = 7;
/// Frame type: enlarges a flow-control window.
pub const WINDOW_UPDATE: u8 = 8;
/// Frame type: more headers.
pub const CONTINUATION: u8 = 9;

/// Flag: the last frame of its stream.
pub const END_STREAM: u8 = 1;
/// Flag: the end of the headers.
pub const END_HEADERS: u8 = 4;

/// Setting: the initial flow-control window of a stream.
pub const INITIAL_WINDOW_SIZE: u16 = 4;
/// The largest window.
pub const MAX_WINDOW: u32 = (1 << 31) - 1;
/// The largest increment of a connection's initial window.
pub const MAX_INCREMENT: u32 = MAX_WINDOW - 65_535;

/// GOAWAY code: the peer behaves abusively.
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// The path of ListDeployments.
pub const LIST: &str = "/proto.DeploymentsService/ListDeployments";
/// The path of SetDeployment.
pub const SET: &str = "/proto.DeploymentsService/SetDeployment";
/// The path of a bidirectional call open to every client.
pub const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
/// The path of a server-streaming call.
pub const HEALTH_WATCH: &str = "/grpc.health.v1.Health/Watch";

/// Reached only if the server does not close what it should.
const READ_TIMEOUT: Duration = Duration::from_secs(20);

/// A frame of any type, with any flags.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    [&prefix(payload)[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// A length prefix of four bytes.
fn prefix(payload: &[u8]) -> [u8; 4] {
    u32::try_from(payload.len()).expect("an attack is no file").to_be_bytes()
}

/// The start of a connection: preface, settings, and a connection window that is never exhausted.
pub fn preface(settings: &[(u16, u32)]) -> Vec<u8> {
    let settings: Vec<u8> = settings
        .iter()
        .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
        .collect();
    let window = frame(WINDOW_UPDATE, 0, 0, &MAX_INCREMENT.to_be_bytes());
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", frame(SETTINGS, 0, 0, &settings).as_slice(), &window].concat()
}

/// One header, neither compressed nor indexed.
pub fn header(name: &str, value: &str) -> Vec<u8> {
    [vec![0], text(name), text(value)].concat()
}

/// A string literal of HPACK: the length, in 7 bits or continued, then the text.
fn text(text: &str) -> Vec<u8> {
    let length = match u8::try_from(text.len()) {
        Ok(length) if length < 127 => vec![length],
        Ok(_) | Err(_) => [vec![127], varint(text.len() - 127)].concat(),
    };
    [&length, text.as_bytes()].concat()
}

/// A number in groups of seven bits, the lowest first, as in HPACK and protobuf.
pub fn varint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 128 {
        bytes.push(0x80 | low_bits(number));
        number /= 128;
    }
    bytes.push(low_bits(number));
    bytes
}

fn low_bits(number: usize) -> u8 {
    u8::try_from(number % 128).expect("seven bits")
}

/// The headers of a gRPC call.
pub fn call_headers(path: &str) -> Vec<u8> {
    [
        (":method", "POST"),
        (":scheme", "https"),
        (":authority", "localhost"),
        (":path", path),
        ("content-type", "application/grpc"),
        ("te", "trailers"),
    ]
    .iter()
    .flat_map(|(name, value)| header(name, value))
    .collect()
}

/// Begins a call.
pub fn call(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &call_headers(path))
}

/// A gRPC message with its prefix.
pub fn message(message: &[u8]) -> Vec<u8> {
    [&[0], &prefix(message)[..], message].concat()
}

/// A complete call with an empty message.
pub fn whole_call(stream: u32, path: &str) -> Vec<u8> {
    [call(stream, path), frame(DATA, END_STREAM, stream, &message(b""))].concat()
}

/// The stream ids available to a client, in order.
pub fn streams() -> impl Iterator<Item = u32> {
    (1..MAX_WINDOW).step_by(2)
}

/// A ping, which the server answers whatever the state of its streams.
pub fn ping() -> Vec<u8> {
    frame(PING, 0, 0, &[7; 8])
}

/// `count` requests, each cancelled immediately.
pub fn resets(count: usize) -> Vec<u8> {
    const CANCEL: [u8; 4] = 8_u32.to_be_bytes();
    let reset = |stream| [whole_call(stream, LIST), frame(RST_STREAM, 0, stream, &CANCEL)].concat();
    streams().take(count).flat_map(reset).collect()
}

/// A frame from the server.
#[derive(Debug)]
pub struct Received {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// Its stream, or 0 for the connection.
    pub stream: u32,
    /// Its content after the header.
    pub payload: Vec<u8>,
}

/// The next frame, or an error at the end of the connection.
pub async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Received> {
    let received = async {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let [a, b, c, kind, flags, id @ ..] = head;
        let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
        stream.read_exact(&mut payload).await?;
        Ok(Received { kind, flags, stream: u32::from_be_bytes(id), payload })
    };
    timeout(READ_TIMEOUT, received).await.map_err(|_| io::ErrorKind::TimedOut)?
}

/// Reads to the end of the connection, and returns the server's GOAWAY code, if any.
pub async fn goaway(stream: &mut (impl AsyncRead + Unpin)) -> Option<u32> {
    let mut code = None;
    while let Ok(Received { kind, payload, .. }) = receive(stream).await {
        if let (GOAWAY, Some(bytes)) = (kind, payload.get(4..8)) {
            code = bytes.try_into().ok().map(u32::from_be_bytes);
        }
    }
    code
}
