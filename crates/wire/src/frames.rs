//! The events of a watch, cut out of the bytes that arrive.

use bytes::{Buf as _, Bytes, BytesMut};

use crate::Encoding;

/// The longest frame that is read. An object takes up to 1.5 MiB in etcd, and as JSON, with its texts escaped, up to six
/// times as much.
pub const LONGEST_FRAME: usize = 16 << 20;

/// The bytes before each event in protobuf.
const PREFIX: usize = size_of::<u32>();

/// An event that is too long to be one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("an event of more than {LONGEST_FRAME} bytes")]
pub struct FrameTooLong;

/// What has arrived of a watch and was not taken yet.
#[derive(Debug)]
pub struct Frames {
    encoding: Encoding,
    arrived: BytesMut,
    /// How much of it was searched for the end of a line.
    searched: usize,
}

impl Frames {
    /// Nothing has arrived yet.
    pub fn new(encoding: Encoding) -> Self {
        Self { encoding, arrived: BytesMut::new(), searched: 0 }
    }

    /// How the events are written.
    pub fn encoding(&self) -> Encoding {
        self.encoding
    }

    /// More has arrived.
    pub fn push(&mut self, bytes: &[u8]) {
        self.arrived.extend_from_slice(bytes);
    }

    /// Whether everything that has arrived was taken.
    pub fn is_empty(&self) -> bool {
        self.arrived.is_empty()
    }

    /// Takes the next event, without what frames it. `None`: more must arrive first.
    pub fn take(&mut self) -> Result<Option<Bytes>, FrameTooLong> {
        match self.encoding {
            Encoding::Json => self.take_line(),
            Encoding::Protobuf => self.take_counted(),
        }
    }

    fn take_line(&mut self) -> Result<Option<Bytes>, FrameTooLong> {
        let end = self.arrived[self.searched..].iter().position(|&byte| byte == b'\n');
        let length = end.map_or(self.arrived.len(), |end| self.searched + end);
        if length > LONGEST_FRAME {
            return Err(FrameTooLong);
        }
        if end.is_none() {
            self.searched = length;
            return Ok(None);
        }
        self.searched = 0;
        let line = self.arrived.split_to(length).freeze();
        self.arrived.advance(1);
        Ok(Some(line))
    }

    fn take_counted(&mut self) -> Result<Option<Bytes>, FrameTooLong> {
        let Some(prefix) = self.arrived.first_chunk::<PREFIX>() else { return Ok(None) };
        let length = usize::try_from(u32::from_be_bytes(*prefix)).map_err(|_| FrameTooLong)?;
        if length > LONGEST_FRAME {
            return Err(FrameTooLong);
        }
        if self.arrived.len() - PREFIX < length {
            return Ok(None);
        }
        self.arrived.advance(PREFIX);
        Ok(Some(self.arrived.split_to(length).freeze()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const BOTH: [Encoding; 2] = [Encoding::Json, Encoding::Protobuf];

    /// All events of a stream that arrives in pieces of this size.
    fn events(encoding: Encoding, stream: &[u8], piece: usize) -> Vec<Bytes> {
        let mut frames = Frames::new(encoding);
        let mut events = Vec::new();
        for piece in stream.chunks(piece) {
            frames.push(piece);
            while let Some(event) = frames.take().expect("short") {
                events.push(event);
            }
        }
        assert!(frames.is_empty());
        events
    }

    #[test]
    fn are_found_wherever_the_stream_is_cut() {
        let expected = ["one", "", "and another one"].map(|event| Bytes::from_static(event.as_bytes()));
        for encoding in BOTH {
            let stream: Vec<u8> = expected.iter().flat_map(|event| encoding.frame(event)).collect();
            for piece in 1..=stream.len() {
                assert_eq!(events(encoding, &stream, piece), expected, "{encoding:?} by {piece}");
            }
        }
    }

    #[test]
    fn what_is_begun_is_not_lost_and_not_taken() {
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
    fn one_that_is_too_long_is_refused_before_it_has_arrived() {
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
