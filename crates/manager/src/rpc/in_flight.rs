//! Requests in flight: limits their number, and the memory of their answers until clients have read them.
//!
//! There are many connections with many requests each, so their limits do not bound the total memory. An unread answer
//! waits in the transport, which has no limit for all connections either. So each chunk of an answer is counted until
//! the transport has dropped it.

use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll, ready};

use axum::body::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::registry::Registry;
use tonic::Status;
use tonic::body::Body;
use tower::{Layer, Service};

use super::status::Refusal;
use crate::net::quota::{Exhausted, Quota, Share};
use crate::net::tls::Peer;

/// Requests of all users and of one user.
const MAX_REQUESTS: usize = 1024;
const MAX_REQUESTS_OF_USER: usize = 256;
/// Bytes of unread answers to all users and to one user. A row of ListDeployments takes about 200.
const MAX_ANSWERS: usize = 128 * 1024 * 1024;
const MAX_ANSWERS_OF_USER: usize = 32 * 1024 * 1024;

/// The limits of all requests together. Clones share them.
#[derive(Clone, Debug)]
pub struct Requests {
    slots: Arc<Quota>,
    answers: Arc<Quota>,
    metrics: RequestMetrics,
}

impl Requests {
    /// Creates the limits. Refusals are counted in `metrics`.
    pub fn new(metrics: RequestMetrics) -> Self {
        Self {
            slots: Quota::new(MAX_REQUESTS, MAX_REQUESTS_OF_USER),
            answers: Quota::new(MAX_ANSWERS, MAX_ANSWERS_OF_USER),
            metrics,
        }
    }

    fn begin(&self, user: Arc<str>) -> Result<InFlight, Refusal> {
        let slot = self.slots.take(&user, 1).map_err(|exhausted| {
            self.metrics.refuse(REQUESTS);
            Refusal::TooManyRequests(exhausted)
        })?;
        Ok(InFlight(Arc::new(Slot {
            user,
            requests: self.clone(),
            reserved: Mutex::default(),
            _share: slot,
        })))
    }

    fn take_answer(&self, user: &Arc<str>, bytes: usize) -> Result<Share, Refusal> {
        self.answers.take(user, bytes).map_err(|exhausted| self.refuse_answer(exhausted))
    }

    fn refuse_answer(&self, exhausted: Exhausted) -> Refusal {
        self.metrics.refuse(ANSWERS);
        Refusal::TooManyAnswers(exhausted)
    }
}

/// Metrics of requests. Clones share their counts.
#[derive(Clone, Debug, Default)]
pub struct RequestMetrics {
    refused: Family<RefusedLabels, Counter>,
}

#[derive(Clone, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct RefusedLabels {
    reason: &'static str,
}

/// The reasons for refusals.
const REQUESTS: &str = "requests";
const ANSWERS: &str = "answers";

impl RequestMetrics {
    /// Registers the metrics. Both reasons are shown from the start, as 0.
    pub fn register(&self, registry: &mut Registry) {
        for reason in [REQUESTS, ANSWERS] {
            self.refused.get_or_create_owned(&RefusedLabels { reason });
        }
        registry.register(
            "requests_refused",
            "RPCs that were refused by a limit, not for what they ask: too many requests in flight, or too many bytes of answers unread",
            self.refused.clone(),
        );
    }

    fn refuse(&self, reason: &'static str) {
        self.refused.get_or_create_owned(&RefusedLabels { reason }).inc();
    }
}

/// A request with a slot, which it keeps until its answer was sent.
#[derive(Clone, Debug)]
pub(super) struct InFlight(Arc<Slot>);

#[derive(Debug)]
struct Slot {
    user: Arc<str>,
    requests: Requests,
    /// Memory for the answer while it is created.
    reserved: Mutex<Option<Share>>,
    _share: Share,
}

impl InFlight {
    /// Reserves more memory for the answer that is being created, until its first chunk exists and is counted itself.
    pub(super) fn reserve(&self, bytes: usize) -> Result<(), Refusal> {
        let Slot { user, requests, reserved, .. } = &*self.0;
        let mut reserved = reserved.lock().unwrap_or_else(PoisonError::into_inner);
        match &mut *reserved {
            Some(share) => share.grow(bytes).map_err(|exhausted| requests.refuse_answer(exhausted))?,
            None => *reserved = Some(requests.take_answer(user, bytes)?),
        }
        Ok(())
    }

    /// Counts a chunk of the answer until it is dropped.
    fn count(&self, bytes: Bytes) -> Result<Bytes, Refusal> {
        *self.0.reserved.lock().unwrap_or_else(PoisonError::into_inner) = None;
        let share = self.0.requests.take_answer(&self.0.user, bytes.len())?;
        Ok(Bytes::from_owner(Chunk { bytes, _share: share, _in_flight: self.clone() }))
    }
}

/// Wraps a service in [`Admit`].
impl<S> Layer<S> for Requests {
    type Service = Admit<S>;

    fn layer(&self, service: S) -> Admit<S> {
        Admit { service, requests: self.clone() }
    }
}

/// Serves a request if there is a free slot.
#[derive(Clone, Debug)]
pub struct Admit<S> {
    service: S,
    requests: Requests,
}

impl<S, B> Service<Request<B>> for Admit<S>
where
    S: Service<Request<B>, Response = Response<Body>>,
    S::Future: Send + 'static,
{
    type Response = Response<Counted>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, mut request: Request<B>) -> Self::Future {
        let peer = request.extensions().get::<Peer>();
        // Only tests without TLS have no peer.
        let user = peer.map_or_else(Arc::default, |peer| Arc::clone(&peer.identity.user));
        let admitted = self.requests.begin(user).map(|in_flight| {
            request.extensions_mut().insert(in_flight.clone());
            (self.service.call(request), in_flight)
        });
        let answer = async move {
            match admitted {
                Ok((answer, in_flight)) => Ok(answer.await?.map(|body| Counted(Some((body, in_flight))))),
                Err(refusal) => Ok(Status::from(refusal).into_http::<Body>().map(|_empty| Counted(None))),
            }
        };
        answer.boxed()
    }
}

/// A chunk of an answer in the transport.
struct Chunk {
    bytes: Bytes,
    _share: Share,
    _in_flight: InFlight,
}

impl AsRef<[u8]> for Chunk {
    fn as_ref(&self) -> &[u8] {
        &self.bytes
    }
}

/// An answer whose chunks are counted. It is aborted when the next chunk exceeds a limit. `None`: it has ended.
#[derive(Debug)]
pub struct Counted(Option<(Body, InFlight)>);

impl http_body::Body for Counted {
    type Data = Bytes;
    type Error = Status;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Status>>> {
        let Some((body, in_flight)) = &mut self.0 else { return Poll::Ready(None) };
        let frame = match ready!(Pin::new(body).poll_frame(cx)) {
            Some(Ok(frame)) => frame,
            other => return Poll::Ready(other),
        };
        let counted = match frame.into_data() {
            Ok(bytes) => in_flight.count(bytes).map(Frame::data),
            Err(trailers) => Ok(trailers),
        };
        Poll::Ready(Some(Ok(counted.unwrap_or_else(|refusal| {
            self.0 = None;
            Frame::trailers(trailers(refusal))
        }))))
    }

    fn is_end_stream(&self) -> bool {
        self.0.as_ref().is_none_or(|(body, _)| body.is_end_stream())
    }
}

fn trailers(refusal: Refusal) -> HeaderMap {
    let mut trailers = HeaderMap::new();
    Status::from(refusal).add_header(&mut trailers).expect("our messages fit into headers");
    trailers
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;
    use std::future::poll_fn;

    use futures_util::{future, stream};
    use tower::{ServiceExt, service_fn};

    use super::*;
    use crate::net::tls::identity::Identity;

    const EXHAUSTED: &str = "8";

    /// Limits of two requests, one for each user, and of so many bytes.
    fn requests(bytes: usize) -> Requests {
        let (slots, answers) = (Quota::new(2, 1), Quota::new(bytes, bytes));
        Requests { slots, answers, metrics: RequestMetrics::default() }
    }

    /// Requests an answer of three chunks of four bytes.
    async fn request(requests: &Requests, user: &str) -> Response<Counted> {
        let chunks = || stream::iter(["some", "more", "last"].map(Ok::<_, Infallible>));
        let body = move || Body::new(axum::body::Body::from_stream(chunks()));
        let answer = move |_| future::ok::<_, Infallible>(Response::new(body()));
        let mut request = Request::new(());
        let identity = Identity { user: user.into(), groups: Vec::new(), fingerprint: [0; 32] };
        request
            .extensions_mut()
            .insert(Peer { address: ([127, 0, 0, 1], 1).into(), identity: Arc::new(identity) });
        requests.layer(service_fn(answer)).oneshot(request).await.unwrap()
    }

    fn is_exhausted(headers: &HeaderMap) -> bool {
        headers.get(Status::GRPC_STATUS).is_some_and(|code| code == EXHAUSTED)
    }

    async fn next(body: &mut Counted) -> Option<Frame<Bytes>> {
        let frame = poll_fn(|cx| http_body::Body::poll_frame(Pin::new(&mut *body), cx)).await;
        frame.map(Result::unwrap)
    }

    async fn chunk(body: &mut Counted) -> Bytes {
        next(body).await.unwrap().into_data().unwrap()
    }

    #[tokio::test]
    async fn a_request_keeps_its_slot_until_its_answer_was_sent() {
        let requests = requests(100);
        let mut answer = request(&requests, "a").await.into_body();
        assert!(is_exhausted(request(&requests, "a").await.headers()));
        assert!(!is_exhausted(request(&requests, "b").await.headers()));

        let sent = chunk(&mut answer).await;
        drop(answer);
        assert!(is_exhausted(request(&requests, "a").await.headers()), "{sent:?} is not sent yet");
        drop(sent);
        assert!(!is_exhausted(request(&requests, "a").await.headers()));
    }

    #[tokio::test]
    async fn an_unread_answer_is_aborted() {
        let requests = requests(8);
        let mut answer = request(&requests, "a").await.into_body();
        let _unread = [chunk(&mut answer).await, chunk(&mut answer).await];
        let trailers = next(&mut answer).await.unwrap().into_trailers().unwrap();
        assert!(is_exhausted(&trailers), "{trailers:?}");
        assert!(next(&mut answer).await.is_none());
    }

    #[tokio::test]
    async fn an_answer_that_is_read_is_complete() {
        let requests = requests(8);
        let mut answer = request(&requests, "a").await.into_body();
        for expected in ["some", "more", "last"] {
            assert_eq!(chunk(&mut answer).await, expected);
        }
        assert!(next(&mut answer).await.is_none());
    }

    #[test]
    fn a_reservation_lasts_until_the_first_chunk() {
        let requests = requests(8);
        let (first, second) = (requests.begin("a".into()).unwrap(), requests.begin("b".into()).unwrap());
        first.reserve(4).unwrap();
        first.reserve(4).unwrap();
        let refusal = second.reserve(1).unwrap_err();
        assert!(matches!(refusal, Refusal::TooManyAnswers(_)), "{refusal}");
        let sent = first.count(Bytes::from_static(b"some")).unwrap();
        second.reserve(4).unwrap();
        drop((first, sent));
        second.reserve(4).unwrap();
    }
}
