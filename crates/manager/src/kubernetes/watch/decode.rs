//! Decodes objects, which are the same from protobuf and from JSON.

use std::time::Duration;

use bytes::Bytes;
use http::StatusCode;
use kube::core::metadata::TypeMeta;
use kube::core::response::StatusDetails;
use kube::core::watch::{Bookmark, BookmarkMeta};
use kube::core::{ObjectList, Status, WatchEvent};
use prost::Message as _;
use replica_count_wire::{Encoding, Envelope, Event, Unreadable, messages};

use super::error::WatchError;
use super::object::Object;

/// The longest message of a refusal, in characters. A refusal may be a whole page of a proxy, of which the rest is
/// dropped.
const LONGEST_MESSAGE: usize = 1000;

/// A part of a listing.
pub(super) struct Page<K> {
    pub(super) objects: Vec<K>,
    /// The token of the next part, if there is one.
    pub(super) next: Option<String>,
    /// The version of the listing.
    pub(super) version: String,
}

pub(super) fn event<K: Object>(encoding: Encoding, frame: Bytes) -> Result<WatchEvent<K>, WatchError> {
    match encoding {
        // Some servers send a Status that is not an event.
        Encoding::Json => Ok(serde_json::from_slice(&frame).or_else(|unreadable| {
            let status = serde_json::from_slice::<Status>(&frame).ok().filter(|status| status.code != 0);
            status.map(|status| WatchEvent::Error(status.boxed())).ok_or(unreadable)
        })?),
        Encoding::Protobuf => {
            let Event { r#type, object } = Event::read(frame)?;
            Ok(match r#type.as_str() {
                "ADDED" => WatchEvent::Added(object.object::<K::Message>()?.into()),
                "MODIFIED" => WatchEvent::Modified(object.object::<K::Message>()?.into()),
                "DELETED" => WatchEvent::Deleted(object.object::<K::Message>()?.into()),
                "BOOKMARK" => WatchEvent::Bookmark(to_bookmark(object.object()?)),
                "ERROR" => WatchEvent::Error(to_status(object.object()?).boxed()),
                other => return Err(WatchError::Unreadable(format!("an event of type {other:?}"))),
            })
        }
    }
}

pub(super) fn page<K: Object>(encoding: Encoding, body: Bytes) -> Result<Page<K>, WatchError> {
    let (objects, next, version) = match encoding {
        Encoding::Json => {
            let ObjectList { items, metadata, .. } = serde_json::from_slice(&body)?;
            (items, metadata.continue_, metadata.resource_version.unwrap_or_default())
        }
        Encoding::Protobuf => {
            let messages::List { items, metadata } = Envelope::open(body)?.object()?;
            let read = |item| Ok(K::Message::decode(item).map_err(Unreadable::from)?.into());
            let objects = items.into_iter().map(read).collect::<Result<_, WatchError>>()?;
            let messages::ListMeta { r#continue, resource_version } = metadata.unwrap_or_default();
            (objects, Some(r#continue), resource_version)
        }
    };
    Ok(Page { objects, next: next.filter(|token| !token.is_empty()), version })
}

/// Why a request was refused. Proxies refuse too, and not every refusal is a Status.
pub(super) fn refusal(encoding: Encoding, code: StatusCode, body: &Bytes) -> Status {
    let status = match encoding {
        Encoding::Json => serde_json::from_slice(body).ok(),
        Encoding::Protobuf => {
            Envelope::open(body.clone()).and_then(|envelope| envelope.object()).ok().map(to_status)
        }
    };
    let text = || String::from_utf8_lossy(body).trim().to_owned();
    let mut status = status.unwrap_or_else(|| Status::failure(&text(), ""));
    status.message = status.message.chars().take(LONGEST_MESSAGE).collect();
    if status.code == 0 { status.with_code(code.as_u16()) } else { status }
}

/// The details of a refusal with a Retry-After. No other details are needed.
pub(super) fn details(retry_after: Duration) -> StatusDetails {
    StatusDetails {
        name: String::new(),
        group: String::new(),
        kind: String::new(),
        uid: String::new(),
        causes: Vec::new(),
        retry_after_seconds: retry_after.as_secs().try_into().unwrap_or(u32::MAX),
    }
}

fn to_bookmark(object: messages::AnyObject) -> Bookmark {
    let messages::AnyMeta { resource_version, annotations, .. } = object.metadata.unwrap_or_default();
    Bookmark { types: TypeMeta::default(), metadata: BookmarkMeta { resource_version, annotations } }
}

fn to_status(status: messages::Status) -> Status {
    let messages::Status { message, reason, code } = status;
    Status::failure(&String::from_utf8_lossy(&message), &reason)
        .with_code(u16::try_from(code).unwrap_or_default())
}
