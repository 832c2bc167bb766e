//! HTTP/2 (RFC 9113), byte by byte: what no library would send.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::timeout;

/// A type of frames: a piece of a message.
pub const DATA: u8 = 0;
/// A type of frames: what begins or ends a stream.
pub const HEADERS: u8 = 1;
/// A type of frames: which streams come first; long out of use.
pub const PRIORITY: u8 = 2;
/// A type of frames: ends a stream at once.
pub const RST_STREAM: u8 = 3;
/// A type of frames: what a peer wishes of the other.
pub const SETTINGS: u8 = 4;
/// A type of frames: asks for the same frame as an answer.
pub const PING: u8 = 6;
/// A type of frames: ends a connection.
pub const GOAWAY: u8 = 7;
/// A type of frames: allows more to be sent.
pub const WINDOW_UPDATE: u8 = 8;
/// A type of frames: more headers.
pub const CONTINUATION: u8 = 9;

/// A flag: this was the last of its stream.
pub const END_STREAM: u8 = 1;
/// A flag: these were all headers.
pub const END_HEADERS: u8 = 4;

/// A setting: how much may be sent on a new stream before it is read.
pub const INITIAL_WINDOW_SIZE: u16 = 4;
/// The largest window.
pub const MAX_WINDOW: u32 = (1 << 31) - 1;
/// By how much the first window of a connection may grow.
pub const MAX_INCREMENT: u32 = MAX_WINDOW - 65_535;

/// A code of GOAWAY: the peer does what only an attacker would.
pub const ENHANCE_YOUR_CALM: u32 = 11;

/// The path of a call.
pub const LIST: &str = "/proto.DeploymentsService/ListDeployments";
/// The path of a call.
pub const SET: &str = "/proto.DeploymentsService/SetDeployment";
/// The path of a call that anybody may make, in both directions.
pub const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
/// The path of a call whose answers go on.
pub const HEALTH_WATCH: &str = "/grpc.health.v1.Health/Watch";

/// Reached only when a server does not end what it should.
const PATIENCE: Duration = Duration::from_secs(20);

/// A frame of any type, with any flags.
pub fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    [&prefix(payload)[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// The length of something, in bytes.
fn prefix(payload: &[u8]) -> [u8; 4] {
    u32::try_from(payload.len()).expect("an attack is no file").to_be_bytes()
}

/// What a client begins with: the preface, settings, and a window for the connection that is never exhausted.
pub fn preface(settings: &[(u16, u32)]) -> Vec<u8> {
    let settings: Vec<u8> = settings
        .iter()
        .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
        .collect();
    let window = frame(WINDOW_UPDATE, 0, 0, &MAX_INCREMENT.to_be_bytes());
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", frame(SETTINGS, 0, 0, &settings).as_slice(), &window].concat()
}

/// One header, neither compressed nor remembered.
pub fn header(name: &str, value: &str) -> Vec<u8> {
    [vec![0], text(name), text(value)].concat()
}

/// A text with its length, which takes seven bits, or these and more.
fn text(text: &str) -> Vec<u8> {
    let length = match u8::try_from(text.len()) {
        Ok(length) if length < 127 => vec![length],
        Ok(_) | Err(_) => [vec![127], varint(text.len() - 127)].concat(),
    };
    [&length, text.as_bytes()].concat()
}

/// A number in groups of seven bits, the lowest first. HPACK and protobuf agree on that.
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

/// The headers of a call.
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

/// A message of a call, with what gRPC puts before it.
pub fn message(message: &[u8]) -> Vec<u8> {
    [&[0], &prefix(message)[..], message].concat()
}

/// A whole call without fields.
pub fn whole_call(stream: u32, path: &str) -> Vec<u8> {
    [call(stream, path), frame(DATA, END_STREAM, stream, &message(b""))].concat()
}

/// The streams that a client may open, in order.
pub fn streams() -> impl Iterator<Item = u32> {
    (1..MAX_WINDOW).step_by(2)
}

/// Asks for an answer, whatever else goes on.
pub fn ping() -> Vec<u8> {
    frame(PING, 0, 0, &[7; 8])
}

/// So many requests that are taken back at once.
pub fn resets(count: usize) -> Vec<u8> {
    const CANCEL: [u8; 4] = 8_u32.to_be_bytes();
    let reset = |stream| [whole_call(stream, LIST), frame(RST_STREAM, 0, stream, &CANCEL)].concat();
    streams().take(count).flat_map(reset).collect()
}

/// A frame that the server has sent.
#[derive(Debug)]
pub struct Received {
    /// Its type.
    pub kind: u8,
    /// Its flags.
    pub flags: u8,
    /// The stream that it belongs to, or 0 for the connection.
    pub stream: u32,
    /// All that follows its head.
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
    timeout(PATIENCE, received).await.map_err(|_| io::ErrorKind::TimedOut)?
}

/// Reads to the end of the connection, and returns the code that the server closed it with.
pub async fn goaway(stream: &mut (impl AsyncRead + Unpin)) -> Option<u32> {
    let mut code = None;
    while let Ok(Received { kind, payload, .. }) = receive(stream).await {
        if let (GOAWAY, Some(bytes)) = (kind, payload.get(4..8)) {
            code = bytes.try_into().ok().map(u32::from_be_bytes);
        }
    }
    code
}
