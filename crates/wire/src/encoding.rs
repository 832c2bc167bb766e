//! The two encodings of an answer.

use bytes::{BufMut as _, Bytes, BytesMut};

/// The `Accept` header of a request: protobuf, which is cheaper for both sides, or else JSON, which every API server
/// supports.
pub const ACCEPT: &str = "application/vnd.kubernetes.protobuf, application/json";

/// The encoding of the objects in an answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// JSON. Each event of a watch is a line.
    Json,
    /// Kubernetes' protobuf. Each event of a watch is preceded by its length in 4 bytes, big-endian.
    Protobuf,
}

impl Encoding {
    /// The encoding of an answer with this `Content-Type`. Anything but protobuf counts as JSON.
    pub fn of(content_type: &[u8]) -> Self {
        let media_type = content_type.split(|&byte| byte == b';').next().unwrap_or_default();
        if media_type.trim_ascii().eq_ignore_ascii_case(Self::Protobuf.media_type().as_bytes()) {
            Self::Protobuf
        } else {
            Self::Json
        }
    }

    /// The media type in `Content-Type` and `Accept`.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }

    /// Frames an event.
    pub fn frame(self, event: &[u8]) -> Bytes {
        let mut frame = BytesMut::with_capacity(event.len() + 4);
        match self {
            Self::Json => {
                frame.put_slice(event);
                frame.put_u8(b'\n');
            }
            Self::Protobuf => {
                frame.put_u32(u32::try_from(event.len()).expect("no event is longer than 4 GB"));
                frame.put_slice(event);
            }
        }
        frame.freeze()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn is_determined_by_the_content_type() {
        let cases = [
            ("application/vnd.kubernetes.protobuf", Encoding::Protobuf),
            ("application/vnd.kubernetes.protobuf;stream=watch", Encoding::Protobuf),
            ("Application/vnd.Kubernetes.protobuf ; stream=watch", Encoding::Protobuf),
            ("application/json", Encoding::Json),
            ("application/json;stream=watch", Encoding::Json),
            ("application/vnd.kubernetes.protobuf2", Encoding::Json),
            ("text/plain; charset=utf-8", Encoding::Json),
            ("", Encoding::Json),
        ];
        for (content_type, expected) in cases {
            assert_eq!(Encoding::of(content_type.as_bytes()), expected, "{content_type}");
        }
    }
}
