//! The envelope of an object in Kubernetes' protobuf, which names its kind.

use bytes::{BufMut as _, Bytes, BytesMut};
use prost::{DecodeError, Message};

/// The first bytes of every object.
const MAGIC: &[u8] = b"k8s\0";

/// Why an object cannot be decoded.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Unreadable {
    /// It does not begin with the magic number.
    #[error("it does not begin with the magic number of Kubernetes' protobuf")]
    Magic,
    /// It is not protobuf, or its fields have other types.
    #[error(transparent)]
    Protobuf(#[from] DecodeError),
}

/// An object and its kind: `runtime.Unknown`.
#[derive(Clone, PartialEq, Message)]
pub struct Envelope {
    #[prost(message, optional, tag = "1")]
    type_meta: Option<TypeMeta>,
    #[prost(bytes = "bytes", tag = "2")]
    raw: Bytes,
}

#[derive(Clone, PartialEq, Message)]
struct TypeMeta {
    #[prost(string, tag = "1")]
    api_version: String,
    #[prost(string, tag = "2")]
    kind: String,
}

impl Envelope {
    /// Wraps an object.
    pub fn new(api_version: &str, kind: &str, object: &impl Message) -> Self {
        let type_meta = TypeMeta { api_version: api_version.to_owned(), kind: kind.to_owned() };
        Self { type_meta: Some(type_meta), raw: object.encode_to_vec().into() }
    }

    /// Decodes an answer or the object of an event. The object inside shares the memory of `bytes`.
    pub fn open(mut bytes: Bytes) -> Result<Self, Unreadable> {
        if !bytes.starts_with(MAGIC) {
            return Err(Unreadable::Magic);
        }
        let envelope = bytes.split_off(MAGIC.len());
        Ok(Self::decode(envelope)?)
    }

    /// Encodes it, with the magic number.
    pub fn seal(&self) -> Bytes {
        let mut bytes = BytesMut::with_capacity(MAGIC.len() + self.encoded_len());
        bytes.put_slice(MAGIC);
        self.encode(&mut bytes).expect("the buffer grows");
        bytes.freeze()
    }

    /// The kind of the object, such as `Deployment`; empty if it is absent.
    pub fn kind(&self) -> &str {
        self.type_meta.as_ref().map_or("", |types| &types.kind)
    }

    /// Decodes the object. Fields that `M` does not have are skipped.
    pub fn object<M: Message + Default>(&self) -> Result<M, Unreadable> {
        Ok(M::decode(self.raw.clone())?)
    }
}

/// An event of a watch: `metav1.WatchEvent`.
#[derive(Clone, Debug, PartialEq)]
pub struct Event {
    /// `ADDED`, `MODIFIED`, `DELETED`, `BOOKMARK` or `ERROR`.
    pub r#type: String,
    /// The object, or a `Status` for `ERROR`.
    pub object: Envelope,
}

#[derive(Clone, PartialEq, Message)]
struct WatchEvent {
    #[prost(string, tag = "1")]
    r#type: String,
    #[prost(message, required, tag = "2")]
    object: RawExtension,
}

#[derive(Clone, PartialEq, Message)]
struct RawExtension {
    #[prost(bytes = "bytes", tag = "1")]
    raw: Bytes,
}

impl Event {
    /// Decodes an event without its frame.
    pub fn read(frame: Bytes) -> Result<Self, Unreadable> {
        let WatchEvent { r#type, object } = WatchEvent::decode(frame)?;
        Ok(Self { r#type, object: Envelope::open(object.raw)? })
    }

    /// Encodes it without a frame.
    pub fn write(&self) -> Bytes {
        let object = RawExtension { raw: self.object.seal() };
        WatchEvent { r#type: self.r#type.clone(), object }.encode_to_vec().into()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::messages::Status;

    /// The event with a Status that a real API server sent for a version that was too old.
    const GONE: &[u8] = include_bytes!("../tests/gone");

    #[test]
    fn an_event_of_a_real_api_server_is_decoded() {
        let event = Event::read(Bytes::from_static(GONE)).expect("decodable");
        assert_eq!((event.r#type.as_str(), event.object.kind()), ("ERROR", "Status"));
        let status: Status = event.object.object().expect("decodable");
        assert_eq!((status.code, status.reason.as_str()), (410, "Expired"));
        assert!(status.message.starts_with(b"too old resource version"), "{:?}", status.message);
    }

    #[test]
    fn encoding_and_decoding_round_trips() {
        let status = Status { message: "no".into(), reason: "Expired".to_owned(), code: 410 };
        let event = Event { r#type: "ERROR".to_owned(), object: Envelope::new("v1", "Status", &status) };
        let read = Event::read(event.write()).expect("decodable");
        assert_eq!(read, event);
        assert_eq!(read.object.object(), Ok(status));
    }

    #[test]
    fn anything_else_is_refused() {
        let open = |bytes: &'static [u8]| Envelope::open(Bytes::from_static(bytes));
        assert_eq!(open(b"{\"kind\":\"Status\"}"), Err(Unreadable::Magic));
        assert_eq!(open(b"k8s"), Err(Unreadable::Magic));
        assert!(matches!(open(b"k8s\0\xff"), Err(Unreadable::Protobuf(_))));
        assert!(matches!(Event::read(Bytes::from_static(b"\x0a\xff")), Err(Unreadable::Protobuf(_))));
        assert_eq!(Event::read(Bytes::from_static(b"\x0a\x05ADDED")), Err(Unreadable::Magic));
    }
}
