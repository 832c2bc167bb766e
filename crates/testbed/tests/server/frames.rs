//! HTTP/2, byte by byte: what no library would send.

use std::io;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt as _};
use tokio::time::timeout;

pub(crate) const DATA: u8 = 0;
pub(crate) const HEADERS: u8 = 1;
pub(crate) const PRIORITY: u8 = 2;
pub(crate) const RST_STREAM: u8 = 3;
pub(crate) const SETTINGS: u8 = 4;
pub(crate) const PING: u8 = 6;
pub(crate) const GOAWAY: u8 = 7;
pub(crate) const WINDOW_UPDATE: u8 = 8;
pub(crate) const CONTINUATION: u8 = 9;

pub(crate) const END_STREAM: u8 = 1;
pub(crate) const END_HEADERS: u8 = 4;

/// A setting: how much may be sent on a new stream before it is read.
pub(crate) const INITIAL_WINDOW_SIZE: u16 = 4;
/// The largest window, and by how much the first one of a connection may grow.
pub(crate) const MAX_WINDOW: u32 = (1 << 31) - 1;
pub(crate) const MAX_INCREMENT: u32 = MAX_WINDOW - 65_535;

pub(crate) const ENHANCE_YOUR_CALM: u32 = 11;

pub(crate) const LIST: &str = "/proto.DeploymentsService/ListDeployments";
pub(crate) const SET: &str = "/proto.DeploymentsService/SetDeployment";
pub(crate) const REFLECTION: &str = "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo";
pub(crate) const HEALTH_WATCH: &str = "/grpc.health.v1.Health/Watch";

/// Reached only when a server does not end what it should.
const PATIENCE: Duration = Duration::from_secs(20);

pub(crate) fn frame(kind: u8, flags: u8, stream: u32, payload: &[u8]) -> Vec<u8> {
    let length = u32::try_from(payload.len()).unwrap().to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), payload].concat()
}

/// What a client begins with: the preface, settings, and a window for the connection that is never exhausted.
pub(crate) fn preface(settings: &[(u16, u32)]) -> Vec<u8> {
    let settings: Vec<u8> = settings
        .iter()
        .flat_map(|(name, value)| [&name.to_be_bytes()[..], &value.to_be_bytes()].concat())
        .collect();
    let window = frame(WINDOW_UPDATE, 0, 0, &MAX_INCREMENT.to_be_bytes());
    [b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n", frame(SETTINGS, 0, 0, &settings).as_slice(), &window].concat()
}

/// One header, neither compressed nor remembered.
pub(crate) fn header(name: &str, value: &str) -> Vec<u8> {
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
pub(crate) fn varint(mut number: usize) -> Vec<u8> {
    let mut bytes = Vec::new();
    while number >= 128 {
        bytes.push(u8::try_from(128 + number % 128).unwrap());
        number /= 128;
    }
    bytes.push(u8::try_from(number).unwrap());
    bytes
}

/// The headers of a call.
pub(crate) fn call_headers(path: &str) -> Vec<u8> {
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
pub(crate) fn call(stream: u32, path: &str) -> Vec<u8> {
    frame(HEADERS, END_HEADERS, stream, &call_headers(path))
}

/// A message of a call, with what gRPC puts before it.
pub(crate) fn message(message: &[u8]) -> Vec<u8> {
    [&[0], &u32::try_from(message.len()).unwrap().to_be_bytes()[..], message].concat()
}

/// A whole call without fields.
pub(crate) fn whole_call(stream: u32, path: &str) -> Vec<u8> {
    [call(stream, path), frame(DATA, END_STREAM, stream, &message(b""))].concat()
}

/// The streams that a client may open, in order.
pub(crate) fn streams() -> impl Iterator<Item = u32> {
    (1..MAX_WINDOW).step_by(2)
}

/// A frame that the server has sent.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) kind: u8,
    pub(crate) flags: u8,
    pub(crate) stream: u32,
    pub(crate) payload: Vec<u8>,
}

/// The next frame, or an error at the end of the connection.
pub(crate) async fn receive(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Received> {
    let received = async {
        let mut head = [0; 9];
        stream.read_exact(&mut head).await?;
        let mut payload = vec![0; u32::from_be_bytes([0, head[0], head[1], head[2]]) as usize];
        stream.read_exact(&mut payload).await?;
        let id = u32::from_be_bytes([head[5], head[6], head[7], head[8]]);
        Ok(Received { kind: head[3], flags: head[4], stream: id, payload })
    };
    timeout(PATIENCE, received).await.expect("a frame or the end in time")
}

/// Reads to the end of the connection, and returns the code that the server closed it with.
pub(crate) async fn goaway(stream: &mut (impl AsyncRead + Unpin)) -> Option<u32> {
    let mut code = None;
    while let Ok(Received { kind, payload, .. }) = receive(stream).await {
        if kind == GOAWAY {
            code = Some(u32::from_be_bytes(payload[4..8].try_into().unwrap()));
        }
    }
    code
}
