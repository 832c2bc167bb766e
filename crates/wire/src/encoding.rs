//! In which of two ways an answer is written.

use bytes::{BufMut as _, Bytes, BytesMut};

/// What is asked for: protobuf, which costs both sides less, or JSON, which every API server can write.
pub const ACCEPT: &str = "application/vnd.kubernetes.protobuf, application/json";

/// How the objects of an answer are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Encoding {
    /// JSON; an event of a watch is a line.
    Json,
    /// Kubernetes' protobuf; an event of a watch has its length before it, in 4 bytes, the highest first.
    Protobuf,
}

impl Encoding {
    /// By the `Content-Type` of an answer. Whatever is not said to be protobuf is taken for JSON.
    pub fn of(content_type: &[u8]) -> Self {
        let media_type = content_type.split(|&byte| byte == b';').next().unwrap_or_default();
        if media_type.trim_ascii().eq_ignore_ascii_case(Self::Protobuf.media_type().as_bytes()) {
            Self::Protobuf
        } else {
            Self::Json
        }
    }

    /// Its name in `Content-Type` and `Accept`.
    pub fn media_type(self) -> &'static str {
        match self {
            Self::Json => "application/json",
            Self::Protobuf => "application/vnd.kubernetes.protobuf",
        }
    }

    /// Makes a frame of an event.
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
    fn is_told_by_the_content_type() {
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
