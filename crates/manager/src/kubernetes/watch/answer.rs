//! An answer of the API server to a listing or a watch: its head, and how its body is written.

use bytes::Bytes;
use http::{HeaderValue, Request, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use kube::Client;
use kube::client::Body;
use replica_count_wire::{ACCEPT, Encoding};

use super::decode::{self, Page};
use super::error::WatchError;
use super::events::Events;
use super::object::Object;
use crate::kubernetes::retry_after;

/// The longest page that is taken, in bytes: 500 Deployments of 128 kB. It is held as a whole, so it has to fit into a pod.
pub(super) const LONGEST_PAGE: usize = 64 << 20;
/// The longest refusal that is read.
const LONGEST_REFUSAL: usize = 64 << 10;

/// An answer that has begun and is no refusal.
pub(super) struct Answer {
    encoding: Encoding,
    body: Body,
}

impl Answer {
    /// Asks for protobuf, or else JSON, and waits for the answer to begin. A refusal is [`kube::Error::Api`].
    pub(super) async fn to(client: &Client, mut request: Request<Vec<u8>>) -> kube::Result<Self> {
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, HeaderValue::from_static(ACCEPT));
        // Newer API servers compress events one by one, which saves nothing on the way to a neighbour.
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let (head, body) = client.send(request.map(Body::from)).await?.into_parts();
        let content_type = head.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        let encoding = Encoding::of(content_type.unwrap_or_default());
        if head.status.is_success() {
            return Ok(Self { encoding, body });
        }
        // What cannot be read to its end says no more than its status does.
        let body = collect(body, LONGEST_REFUSAL).await.unwrap_or_default();
        let mut refusal = decode::refusal(encoding, head.status, &body);
        if let Some(asked) = retry_after::of(&head.headers) {
            refusal.details = Some(decode::details(asked));
        }
        Err(kube::Error::Api(refusal.boxed()))
    }

    /// The page that it is.
    pub(super) async fn page<K: Object>(self) -> Result<Page<K>, WatchError> {
        let body = collect(self.body, LONGEST_PAGE).await.map_err(|error| {
            if error.is::<LengthLimitError>() {
                WatchError::PageTooLong(LONGEST_PAGE)
            } else {
                WatchError::Kube(kube::Error::Service(error))
            }
        })?;
        decode::page(self.encoding, body)
    }

    /// The events that it brings.
    pub(super) fn events(self) -> Events {
        Events::new(self.encoding, self.body)
    }
}

async fn collect(body: Body, longest: usize) -> Result<Bytes, tower::BoxError> {
    Ok(Limited::new(body, longest).collect().await?.to_bytes())
}
