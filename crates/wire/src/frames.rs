//! Splits the bytes of a watch into events.

use bytes::{Buf as _, Bytes, BytesMut};

use crate::Encoding;

/// The longest frame that is accepted, in bytes. An object takes up to 1.5 MiB in etcd, and up to six times as much as
/// JSON with escaped strings.
pub const LONGEST_FRAME: usize = 16 << 20;

/// The length of the prefix of each event in protobuf.
const PREFIX: usize = size_of::<u32>();

/// An event is longer than [`LONGEST_FRAME`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of more than {LONGEST_FRAME} bytes")]
pub struct FrameTooLong;

/// The bytes of a watch that have arrived and were not taken yet.
#[derive(Debug)]
pub struct Frames {
    encoding: Encoding,
    buffer: BytesMut,
    /// How much of the buffer was searched for the end of a line.
    searched: usize,
}

impl Frames {
    /// Creates an empty buffer.
    pub fn new(encoding: Encoding) -> Self {
        Self { encoding, buffer: BytesMut::new(), searched: 0 }
    }

    /// The encoding of the events.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// Appends bytes that have arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.buffer.extend_from_slice(bytes);
    }

    /// Whether all bytes were taken.
    pub fn is_empty(&self) -> bool {
        self.buffer.is_empty()
    }

    /// Takes the next event without its frame. `None`: more bytes must arrive first.
    pub fn take(&mut self) -> Result<Option<Bytes>, FrameTooLong> {
        match self.encoding {
            Encoding::Json => self.take_line(),
            Encoding::Protobuf => self.take_length_prefixed(),
        }
    }

    fn take_line(&mut self) -> Result<Option<Bytes>, FrameTooLong> {
        let end = self.buffer[self.searched..].iter().position(|&byte| byte == b'\n');
        let length = end.map_or(self.buffer.len(), |end| self.searched + end);
        if length > LONGEST_FRAME {
            return Err(FrameTooLong);
        }
        if end.is_none() {
            self.searched = length;
            return Ok(None);
        }
        self.searched = 0;
        let line = self.buffer.split_to(length).freeze();
        self.buffer.advance(1);
        Ok(Some(line))
    }

    fn take_length_prefixed(&mut self) -> Result<Option<Bytes>, FrameTooLong> {
        let Some(prefix) = self.buffer.first_chunk::<PREFIX>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*prefix)).map_err(|_| FrameTooLong)?;
        if length > LONGEST_FRAME {
            return Err(FrameTooLong);
        }
        if self.buffer.len() - PREFIX < length {
            return Ok(None);
        }
        self.buffer.advance(PREFIX);
        Ok(Some(self.buffer.split_to(length).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Encoding; 2] = [Encoding::Json, Encoding::Protobuf];

    /// All events of a stream that arrives in chunks of this size.
    fn events(encoding: Encoding, stream: &[u8], chunk: usize) -> Vec<Bytes> {
        let mut frames = Frames::new(encoding);
        let mut events = Vec::new();
        for chunk in stream.chunks(chunk) {
            frames.push(chunk);
            while let Some(event) = frames.take().expect("short") {
                events.push(event);
            }
        }
        assert!(frames.is_empty());
        events
    }

    #[test]
    fn events_are_found_wherever_the_stream_is_split() {
        let expected = ["one", "", "and another one"].map(|event| Bytes::from_static(event.as_bytes()));
        for encoding in BOTH {
            let stream: Vec<u8> = expected.iter().flat_map(|event| encoding.frame(event)).collect();
            for chunk in 1..=stream.len() {
                assert_eq!(events(encoding, &stream, chunk), expected, "{encoding:?} by {chunk}");
            }
        }
    }

    #[test]
    fn an_incomplete_event_is_kept_and_not_taken() {
        for encoding in BOTH {
            let frame = encoding.frame(b"event");
            let mut frames = Frames::new(encoding);
            frames.push(&frame[..frame.len() - 1]);
            assert_eq!(frames.take(), Ok(None));
            assert!(!frames.is_empty());
            frames.push(&frame[frame.len() - 1..]);
            assert_eq!(frames.take(), Ok(Some(Bytes::from_static(b"event"))));
        }
    }

    #[test]
    fn a_too_long_event_is_refused_before_it_has_arrived() {
        let mut frames = Frames::new(Encoding::Protobuf);
        frames.push(&u32::MAX.to_be_bytes());
        assert_eq!(frames.take(), Err(FrameTooLong));

        let mut frames = Frames::new(Encoding::Json);
        frames.push(&vec![b'x'; LONGEST_FRAME]);
        assert_eq!(frames.take(), Ok(None));
        frames.push(b"x\n");
        assert_eq!(frames.take(), Err(FrameTooLong));
    }
}
