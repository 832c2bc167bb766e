//! The API server's answer to a listing or a watch: its head, and the encoding of its body.

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

/// The longest page that is accepted, in bytes: 500 Deployments of 128 kB. It is held as a whole, so it must fit into a
/// pod.
pub(super) const LONGEST_PAGE: usize = 64 << 20;
/// The longest refusal that is read, in bytes.
const LONGEST_REFUSAL: usize = 64 << 10;

/// A successful answer, of which the head has arrived.
pub(super) struct Answer {
    encoding: Encoding,
    body: Body,
}

impl Answer {
    /// Requests protobuf, or else JSON, and waits for the head of the answer. A refusal is [`kube::Error::Api`].
    pub(super) async fn to(client: &Client, mut request: Request<Vec<u8>>) -> kube::Result<Self> {
        let headers = request.headers_mut();
        headers.insert(header::ACCEPT, HeaderValue::from_static(ACCEPT));
        // Newer API servers compress each event, which saves nothing on a short network path.
        headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static("identity"));
        let (head, body) = client.send(request.map(Body::from)).await?.into_parts();
        let content_type = head.headers.get(header::CONTENT_TYPE).map(HeaderValue::as_bytes);
        let encoding = Encoding::of(content_type.unwrap_or_default());
        if head.status.is_success() {
            return Ok(Self { encoding, body });
        }
        // If the body cannot be read completely, only the status is used.
        let body = collect(body, LONGEST_REFUSAL).await.unwrap_or_default();
        let mut refusal = decode::refusal(encoding, head.status, &body);
        if let Some(retry_after) = retry_after::of(&head.headers) {
            refusal.details = Some(decode::details(retry_after));
        }
        Err(kube::Error::Api(refusal.boxed()))
    }

    /// Reads the answer as a page.
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

    /// Reads the answer as events.
    pub(super) fn events(self) -> Events {
        Events::new(self.encoding, self.body)
    }
}

async fn collect(body: Body, longest: usize) -> Result<Bytes, tower::BoxError> {
    Ok(Limited::new(body, longest).collect().await?.to_bytes())
}
