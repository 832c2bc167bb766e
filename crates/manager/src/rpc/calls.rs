//! Metrics of RPCs, under the names that servers in other languages have them too, so that ready-made dashboards work.
//!
//! A call is counted when it has ended: with its trailers, or when its answer is dropped because the client is gone.

use std::pin::{Pin, pin};
use std::task::{Context, Poll, ready};
use std::time::Instant;

use axum::body::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use http::{HeaderMap, Request, Response};
use http_body::Frame;
use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use prometheus_client::metrics::histogram::{Histogram, exponential_buckets};
use prometheus_client::registry::Registry;
use replica_count_api::proto::deployments_service_server::SERVICE_NAME;
use tonic::Status;
use tower::{Layer, Service};

use crate::net::tls::Peer;
use crate::traces::context::Remote;
use crate::traces::{Kind, Span, Tracer};

const UNARY: &str = "unary";
const SERVER_STREAM: &str = "server_stream";
const BIDI_STREAM: &str = "bidi_stream";

const HEALTH: &str = "grpc.health.v1.Health";
const REFLECTION: &str = "grpc.reflection.v1.ServerReflection";
const OLDER_REFLECTION: &str = "grpc.reflection.v1alpha.ServerReflection";

/// Service, method and type of every RPC that the port serves.
const METHODS: [Method; 11] = [
    Method::new(SERVICE_NAME, "ListDeployments", UNARY),
    Method::new(SERVICE_NAME, "GetDeployment", UNARY),
    Method::new(SERVICE_NAME, "SetDeployment", UNARY),
    Method::new(SERVICE_NAME, "DeleteDeployment", UNARY),
    Method::new(SERVICE_NAME, "SetEnforcement", UNARY),
    Method::new(SERVICE_NAME, "ListEvents", UNARY),
    Method::new(SERVICE_NAME, "WatchDeployments", SERVER_STREAM),
    Method::new(HEALTH, "Check", UNARY),
    Method::new(HEALTH, "Watch", SERVER_STREAM),
    Method::new(REFLECTION, "ServerReflectionInfo", BIDI_STREAM),
    Method::new(OLDER_REFLECTION, "ServerReflectionInfo", BIDI_STREAM),
];

/// What clients call that is not served: a client chooses the path, so it is no label.
const UNKNOWN: Method = Method::new("unknown", "unknown", UNARY);

/// The names of status codes, in the order of their numbers.
const CODES: [&str; 17] = [
    "OK",
    "Canceled",
    "Unknown",
    "InvalidArgument",
    "DeadlineExceeded",
    "NotFound",
    "AlreadyExists",
    "PermissionDenied",
    "ResourceExhausted",
    "FailedPrecondition",
    "Aborted",
    "OutOfRange",
    "Unimplemented",
    "Internal",
    "Unavailable",
    "DataLoss",
    "Unauthenticated",
];

/// The codes that say that the server has failed.
const FAILURES: [&str; 6] =
    ["Unknown", "DeadlineExceeded", "Unimplemented", "Internal", "Unavailable", "DataLoss"];

/// The header with the caller's span.
const TRACEPARENT: &str = "traceparent";

const CANCELED: &str = CODES[1];
const UNKNOWN_CODE: &str = CODES[2];

/// An RPC, as labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Method {
    grpc_type: &'static str,
    grpc_service: &'static str,
    grpc_method: &'static str,
}

/// An RPC and how it ended, as labels.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, EncodeLabelSet)]
struct Handled {
    grpc_type: &'static str,
    grpc_service: &'static str,
    grpc_method: &'static str,
    grpc_code: &'static str,
}

impl Method {
    const fn new(grpc_service: &'static str, grpc_method: &'static str, grpc_type: &'static str) -> Self {
        Self { grpc_type, grpc_service, grpc_method }
    }

    /// The method of the path of a request, `/SERVICE/METHOD`.
    fn of_path(path: &str) -> Self {
        let names = path.strip_prefix('/').and_then(|path| path.split_once('/'));
        let is_called = |method: &&Self| names == Some((method.grpc_service, method.grpc_method));
        METHODS.iter().find(is_called).copied().unwrap_or(UNKNOWN)
    }

    fn handled(self, grpc_code: &'static str) -> Handled {
        let Self { grpc_type, grpc_service, grpc_method } = self;
        Handled { grpc_type, grpc_service, grpc_method, grpc_code }
    }
}

/// Counts RPCs, and makes spans of them. Clones share their counts.
#[derive(Clone, Debug)]
pub struct Calls {
    metrics: CallMetrics,
    tracer: Tracer,
}

/// Metrics of RPCs. Clones share their counts.
#[derive(Clone, Debug)]
pub struct CallMetrics {
    started: Family<Method, Counter>,
    handled: Family<Handled, Counter>,
    seconds: Family<Method, Histogram, fn() -> Histogram>,
}

impl Default for CallMetrics {
    fn default() -> Self {
        let seconds = Family::new_with_constructor(histogram as fn() -> Histogram);
        Self { started: Family::default(), handled: Family::default(), seconds }
    }
}

/// From half a millisecond, which an answer from memory takes, to 16 seconds.
fn histogram() -> Histogram {
    Histogram::new(exponential_buckets(0.0005, 2.0, 16))
}

impl CallMetrics {
    /// Registers the metrics, with names of their own, so the registry must have no prefix. Every RPC is shown from the
    /// start, and those of our own service with every code.
    pub fn register(&self, registry: &mut Registry) {
        for method in METHODS {
            self.started.get_or_create_owned(&method);
            self.seconds.get_or_create_owned(&method);
            let codes = if method.grpc_service == SERVICE_NAME { &CODES[..] } else { &CODES[..1] };
            for code in codes {
                self.handled.get_or_create_owned(&method.handled(code));
            }
        }
        registry.register("grpc_server_started", "RPCs that clients have begun", self.started.clone());
        registry.register(
            "grpc_server_handled",
            "RPCs that have ended, by status code",
            self.handled.clone(),
        );
        registry.register(
            "grpc_server_handling_seconds",
            "Time from the beginning of an RPC to the end of its answer",
            self.seconds.clone(),
        );
    }
}

impl Calls {
    /// Counts in these metrics, and makes spans with this tracer.
    pub fn new(metrics: CallMetrics, tracer: Tracer) -> Self {
        Self { metrics, tracer }
    }

    /// Begins the span of an RPC, within the trace of the caller. `None`: nobody wants to see it.
    fn span<B>(&self, method: Method, request: &Request<B>) -> Option<Span> {
        let Method { grpc_service, grpc_method, .. } = method;
        // Probes would hide everything else.
        if !self.tracer.is_on() || grpc_service != SERVICE_NAME {
            return None;
        }
        let remote = request.headers().get(TRACEPARENT).and_then(|value| value.to_str().ok());
        let parent = match remote.and_then(Remote::parse) {
            Some(Remote { is_sampled: false, .. }) => return None,
            Some(Remote { context, .. }) => Some(context),
            None => None,
        };
        let mut span = self.tracer.begin(format!("{grpc_service}/{grpc_method}"), Kind::Server, parent)?;
        span.set_text("rpc.system", "grpc");
        span.set_text("rpc.service", grpc_service);
        span.set_text("rpc.method", grpc_method);
        if let Some(peer) = request.extensions().get::<Peer>() {
            span.set_text("user.name", &peer.identity.user);
        }
        Some(span)
    }
}

/// Wraps a service in [`Measured`].
impl<S> Layer<S> for Calls {
    type Service = Measured<S>;

    fn layer(&self, service: S) -> Measured<S> {
        Measured { service, calls: self.clone() }
    }
}

/// Counts RPCs and measures how long they take.
#[derive(Clone, Debug)]
pub struct Measured<S> {
    service: S,
    calls: Calls,
}

impl<S, B, R> Service<Request<B>> for Measured<S>
where
    S: Service<Request<B>, Response = Response<R>>,
    S::Future: Send + 'static,
    R: http_body::Body,
{
    type Response = Response<MeasuredBody<R>>;
    type Error = S::Error;
    type Future = BoxFuture<'static, Result<Self::Response, Self::Error>>;

    fn poll_ready(&mut self, cx: &mut Context<'_>) -> Poll<Result<(), Self::Error>> {
        self.service.poll_ready(cx)
    }

    fn call(&mut self, request: Request<B>) -> Self::Future {
        let method = Method::of_path(request.uri().path());
        let mut call = Call::begin(&self.calls.metrics, method, self.calls.span(method, &request));
        let context = call.span.as_ref().map(Span::context);
        let answer = self.service.call(request);
        let measured = async move {
            let answer = match context {
                Some(context) => context.scope(answer).await?,
                None => answer.await?,
            };
            // An answer without a message has its status here.
            if let Some(code) = code(answer.headers()) {
                call.code = code;
            }
            Ok(answer.map(|body| MeasuredBody { body, call }))
        };
        measured.boxed()
    }
}

/// An RPC in progress, which is counted when it is dropped.
#[derive(Debug)]
struct Call {
    metrics: CallMetrics,
    method: Method,
    started: Instant,
    /// The code, unless it is still to come.
    code: &'static str,
    span: Option<Span>,
}

impl Call {
    fn begin(metrics: &CallMetrics, method: Method, span: Option<Span>) -> Self {
        metrics.started.get_or_create(&method).inc();
        Self { metrics: metrics.clone(), method, started: Instant::now(), code: CANCELED, span }
    }
}

impl Drop for Call {
    fn drop(&mut self) {
        let Self { metrics, method, started, code, span } = self;
        metrics.handled.get_or_create(&method.handled(code)).inc();
        metrics.seconds.get_or_create(method).observe(started.elapsed().as_secs_f64());
        if let Some(mut span) = span.take() {
            let number = CODES.iter().position(|known| known == code).unwrap_or_default();
            span.set_number("rpc.grpc.status_code", i64::try_from(number).unwrap_or_default());
            // What a client has done wrong is no failure of this server.
            span.end(FAILURES.contains(code).then(|| (*code).to_owned()));
        }
    }
}

/// The answer to an RPC, whose end is measured.
#[derive(Debug)]
pub struct MeasuredBody<R> {
    body: R,
    call: Call,
}

impl<R: http_body::Body<Data = Bytes> + Unpin> http_body::Body for MeasuredBody<R> {
    type Data = Bytes;
    type Error = R::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, R::Error>>> {
        let frame = ready!(pin!(&mut self.body).poll_frame(cx));
        if let Some(Ok(frame)) = &frame
            && let Some(code) = frame.trailers_ref().and_then(code)
        {
            self.call.code = code;
        }
        Poll::Ready(frame)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> http_body::SizeHint {
        self.body.size_hint()
    }
}

/// The name of the status code in headers or trailers. `None`: they have none.
fn code(headers: &HeaderMap) -> Option<&'static str> {
    let code = headers.get(Status::GRPC_STATUS)?.to_str().ok().and_then(|code| code.parse::<usize>().ok());
    Some(code.and_then(|code| CODES.get(code)).unwrap_or(&UNKNOWN_CODE))
}

#[cfg(test)]
mod tests {
    use std::convert::Infallible;

    use futures_util::{future, stream};
    use http_body_util::{BodyExt, StreamBody};
    use replica_count_api::FILE_DESCRIPTOR_SET;
    use tonic::Code;
    use tower::{ServiceExt, service_fn};

    use super::*;

    type TestBody = StreamBody<stream::Iter<std::vec::IntoIter<Result<Frame<Bytes>, Infallible>>>>;

    fn body(trailers: Option<&str>) -> TestBody {
        let mut frames = vec![Ok(Frame::data(Bytes::from_static(b"row")))];
        frames.extend(trailers.map(|code| {
            let trailers = [(http::HeaderName::from_static("grpc-status"), code.parse().unwrap())];
            Ok(Frame::trailers(trailers.into_iter().collect()))
        }));
        StreamBody::new(stream::iter(frames))
    }

    /// Calls a method whose answer has these headers and trailers; `reads` is whether the client reads all of it.
    async fn check(
        path: &str,
        header: Option<&str>,
        trailers: Option<&str>,
        reads: bool,
        expected: (Method, &str),
    ) {
        let metrics = CallMetrics::default();
        let answer = move |_: Request<()>| {
            let mut response = Response::builder();
            if let Some(code) = header {
                response = response.header(Status::GRPC_STATUS, code);
            }
            future::ok::<_, Infallible>(response.body(body(trailers)).unwrap())
        };
        let request = Request::builder().uri(path).body(()).unwrap();
        let mut answer = Calls::new(metrics.clone(), Tracer::default())
            .layer(service_fn(answer))
            .oneshot(request)
            .await
            .unwrap()
            .into_body();
        let (method, code) = expected;
        let handled = method.handled(CODES.iter().find(|name| **name == code).unwrap());
        let count = || metrics.handled.get(&handled).map(|counter| counter.get());
        assert_eq!(count(), None, "it has not ended");
        answer.frame().await.unwrap().unwrap();
        if reads {
            while let Some(frame) = answer.frame().await {
                frame.unwrap();
            }
        }
        drop(answer);
        assert_eq!(count(), Some(1), "{path} {code}");
        assert_eq!(metrics.started.get(&method).unwrap().get(), 1);
    }

    #[tokio::test]
    async fn a_call_is_counted_with_its_code_when_it_ends() {
        let set = METHODS[2];
        let path = "/proto.DeploymentsService/SetDeployment";
        check(path, None, Some("0"), true, (set, "OK")).await;
        check(path, None, Some("8"), true, (set, "ResourceExhausted")).await;
        check(path, Some("3"), None, true, (set, "InvalidArgument")).await;
        check(path, None, Some("0"), false, (set, "Canceled")).await;
        check(path, None, None, true, (set, "Canceled")).await;
        check(path, None, Some("17"), true, (set, "Unknown")).await;
        check("/grpc.health.v1.Health/Watch", None, Some("0"), true, (METHODS[8], "OK")).await;
        for path in ["/", "/a", "/proto.DeploymentsService/Other", "/proto.DeploymentsService/SetDeployment/"]
        {
            check(path, Some("12"), None, true, (UNKNOWN, "Unimplemented")).await;
        }
    }

    #[tokio::test]
    async fn a_call_that_is_abandoned_before_its_answer_is_counted() {
        let metrics = CallMetrics::default();
        let never = |_: Request<()>| future::pending::<Result<Response<TestBody>, Infallible>>();
        let request = Request::builder().uri("/grpc.health.v1.Health/Check").body(()).unwrap();
        let call = Calls::new(metrics.clone(), Tracer::default()).layer(service_fn(never)).oneshot(request);
        tokio::select! {
            biased;
            _ = call => panic!("it never ends"),
            () = tokio::task::yield_now() => {}
        }
        assert_eq!(metrics.handled.get(&METHODS[7].handled(CANCELED)).unwrap().get(), 1);
    }

    #[test]
    fn every_code_has_the_name_that_other_servers_use() {
        for (number, name) in CODES.iter().enumerate() {
            let code = Code::from(i32::try_from(number).unwrap());
            let expected = match code {
                Code::Ok => "OK".to_owned(),
                Code::Cancelled => CANCELED.to_owned(),
                code => format!("{code:?}"),
            };
            assert_eq!(*name, expected);
        }
    }

    #[test]
    fn every_method_of_the_service_is_known() {
        use prost::Message as _;
        let files = prost_types::FileDescriptorSet::decode(FILE_DESCRIPTOR_SET).unwrap();
        let services = files.file.iter().flat_map(|file| {
            file.service
                .iter()
                .map(move |service| (format!("{}.{}", file.package(), service.name()), service))
        });
        let mut methods = 0;
        for (service, method) in services
            .flat_map(|(name, service)| service.method.iter().map(move |method| (name.clone(), method)))
        {
            let known = Method::of_path(&format!("/{service}/{}", method.name()));
            assert_eq!(known.grpc_method, method.name(), "{service}");
            let expected = if method.server_streaming() { SERVER_STREAM } else { UNARY };
            assert_eq!(known.grpc_type, expected, "{service}/{}", method.name());
            methods += 1;
        }
        assert_eq!(methods, METHODS.iter().filter(|method| method.grpc_service == SERVICE_NAME).count());
    }
}
