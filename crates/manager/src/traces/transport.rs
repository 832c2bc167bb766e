//! Requests to a collector, by gRPC or by HTTP.

use std::fs;
use std::path::PathBuf;
use std::time::Duration;

use http::header::{CONTENT_TYPE, HeaderName, HeaderValue};
use http::{HeaderMap, Method, Uri};
use prost::Message as _;
use tonic::Status;

use super::wire::{Request, Response};
use crate::kubernetes::outbound::{HttpVersion, Outbound, OutboundError, authorities};

/// How long a request may take.
const DEADLINE: Duration = Duration::from_secs(10);
/// The method that takes spans.
const GRPC_PATH: &str = "/opentelemetry.proto.collector.trace.v1.TraceService/Export";
/// The path that takes spans, after that of the endpoint.
const HTTP_PATH: &str = "/v1/traces";
/// The length of what is before each message of gRPC: whether it is compressed, and its length.
const GRPC_PREFIX: usize = 5;

/// How spans are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// gRPC.
    Grpc,
    /// Protobuf in requests of HTTP.
    Http,
}

/// Where spans are sent, and how.
#[derive(Clone, Debug)]
pub struct Collector {
    /// The address, with `http` or `https`, and by HTTP perhaps with a path.
    pub endpoint: Uri,
    /// How spans are sent.
    pub protocol: Protocol,
    /// Certificates of the authorities that sign the collector's (PEM). `None`: those that browsers trust.
    pub ca_file: Option<PathBuf>,
    /// Headers of each request. They may be secrets.
    pub headers: HeaderMap,
}

/// The collector cannot be used as configured.
#[derive(Debug, thiserror::Error)]
pub enum CollectorError {
    /// The file of authorities cannot be used.
    #[error("{file}: {reason}", file = .0.display(), reason = .1)]
    CaFile(PathBuf, String),
    /// The address has no path for spans.
    #[error("it cannot be used: {0}")]
    Endpoint(#[from] http::Error),
    /// It cannot be sent to, for example because the proxy in the environment is not one.
    #[error("it cannot be used: {0}")]
    Outbound(#[from] OutboundError),
}

/// Why a request failed.
#[derive(Debug, thiserror::Error)]
pub(super) enum SendError {
    /// There was no answer.
    #[error("{0}")]
    NoAnswer(#[from] OutboundError),
    /// The collector refused.
    #[error("the collector answered {0}")]
    Refused(String),
    /// The collector cannot take anything at the moment.
    #[error("the collector is overloaded: {0}")]
    Overloaded(String),
}

impl SendError {
    /// Whether the same request may succeed later.
    pub(super) fn is_temporary(&self) -> bool {
        match self {
            Self::NoAnswer(_) | Self::Overloaded(_) => true,
            Self::Refused(_) => false,
        }
    }
}

/// Sends requests over connections that it keeps.
pub(super) struct Transport {
    outbound: Outbound,
    protocol: Protocol,
    target: Uri,
    headers: HeaderMap,
}

impl Transport {
    /// Prepares requests. Does not connect.
    pub(super) fn new(collector: &Collector) -> Result<Self, CollectorError> {
        let Collector { endpoint, protocol, headers, ca_file } = collector;
        let authorities = ca_file.as_ref().map(|file| {
            let refused = |reason: String| CollectorError::CaFile(file.clone(), reason);
            let text = fs::read(file).map_err(|error| refused(error.to_string()))?;
            authorities(&text).map_err(|error| refused(error.to_string()))
        });
        let (version, path) = match protocol {
            Protocol::Grpc => (HttpVersion::Two, GRPC_PATH.to_owned()),
            Protocol::Http => {
                (HttpVersion::One, format!("{}{HTTP_PATH}", endpoint.path().trim_end_matches('/')))
            }
        };
        let outbound = Outbound::new(endpoint, authorities.transpose()?, version)?;
        let target = Uri::builder()
            .scheme(endpoint.scheme_str().unwrap_or("http"))
            .authority(endpoint.authority().map_or("", |authority| authority.as_str()))
            .path_and_query(path)
            .build()?;
        Ok(Self { outbound, protocol: *protocol, target, headers: headers.clone() })
    }

    /// Sends spans. Returns how many the collector has rejected, and why.
    pub(super) async fn send(&self, request: &Request) -> Result<Option<(u64, String)>, SendError> {
        let response = self.exchange(request).await?;
        let rejected = response.partial_success.map(|partial| {
            (u64::try_from(partial.rejected_spans).unwrap_or_default(), partial.error_message)
        });
        Ok(rejected.filter(|(count, _)| *count > 0))
    }

    async fn exchange(&self, request: &Request) -> Result<Response, SendError> {
        let (content_type, body) = match self.protocol {
            Protocol::Http => ("application/x-protobuf", request.encode_to_vec()),
            Protocol::Grpc => ("application/grpc", grpc_message(request)),
        };
        let mut http_request = http::Request::new(body);
        *http_request.method_mut() = Method::POST;
        *http_request.uri_mut() = self.target.clone();
        let headers = http_request.headers_mut();
        headers.clone_from(&self.headers);
        headers.insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
        if self.protocol == Protocol::Grpc {
            headers.insert(http::header::TE, HeaderValue::from_static("trailers"));
        }
        let (head, body) = self.outbound.exchange(http_request, DEADLINE).await?;
        // Of a refusal, the body does not matter.
        check_status(head.status)?;
        let body = body?;
        let trailers = body.trailers().cloned().unwrap_or_default();
        let bytes = body.to_bytes();
        let message = match self.protocol {
            Protocol::Http => bytes,
            Protocol::Grpc => {
                check_grpc_status(&head.headers, &trailers)?;
                bytes.slice(GRPC_PREFIX.min(bytes.len())..)
            }
        };
        // Some collectors answer with JSON or nothing, and that they took it is what matters.
        Ok(Response::decode(message).unwrap_or_default())
    }
}

fn check_status(status: http::StatusCode) -> Result<(), SendError> {
    match status.as_u16() {
        _ if status.is_success() => Ok(()),
        429 | 502 | 503 | 504 => Err(SendError::Overloaded(status.to_string())),
        // A redirect is not followed.
        _ => Err(SendError::Refused(status.to_string())),
    }
}

fn check_grpc_status(headers: &HeaderMap, trailers: &HeaderMap) -> Result<(), SendError> {
    let status = Status::from_header_map(trailers).or_else(|| Status::from_header_map(headers));
    let status = status.ok_or_else(|| SendError::Refused("without a status of gRPC".to_owned()))?;
    let text = format!("{:?}: {}", status.code(), status.message());
    match status.code() {
        tonic::Code::Ok => Ok(()),
        tonic::Code::Unavailable
        | tonic::Code::ResourceExhausted
        | tonic::Code::DeadlineExceeded
        | tonic::Code::Cancelled
        | tonic::Code::Aborted
        | tonic::Code::OutOfRange
        | tonic::Code::DataLoss => Err(SendError::Overloaded(text)),
        _ => Err(SendError::Refused(text)),
    }
}

/// A message after its prefix, not compressed.
fn grpc_message(request: &Request) -> Vec<u8> {
    let length = request.encoded_len();
    let mut body = Vec::with_capacity(GRPC_PREFIX + length);
    body.push(0);
    body.extend(u32::try_from(length).unwrap_or(u32::MAX).to_be_bytes());
    request.encode_raw(&mut body);
    body
}

/// Reads `NAME=VALUE,…` with values in percent-encoding, as in `OTEL_EXPORTER_OTLP_HEADERS`. The error does not quote the
/// values.
pub(crate) fn headers(text: &str) -> Result<HeaderMap, String> {
    pairs(text)
        .map(|pair| {
            let (name, value) = pair.ok_or("write NAME=VALUE, separated by commas")?;
            let header =
                HeaderName::try_from(&name).map_err(|_| format!("{name:?} is no name of a header"))?;
            let mut value =
                HeaderValue::try_from(value).map_err(|_| format!("the value of {name} is not valid"))?;
            value.set_sensitive(true);
            Ok((header, value))
        })
        .collect()
}

/// Names and values of `NAME=VALUE,…`, in which values are in percent-encoding. `None`: no such pair.
pub(crate) fn pairs(text: &str) -> impl Iterator<Item = Option<(String, String)>> {
    let decode = |text: &str| {
        percent_encoding::percent_decode_str(text.trim()).decode_utf8().ok().map(std::borrow::Cow::into_owned)
    };
    text.split(',').filter(|pair| !pair.trim().is_empty()).map(move |pair| {
        let (name, value) = pair.split_once('=')?;
        Some((decode(name)?, decode(value)?)).filter(|(name, _)| !name.is_empty())
    })
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    #[test]
    fn headers_are_pairs() {
        let headers = |text: &str| headers(text);
        let read = headers("authorization=Bearer%20a%2Cb, x-scope = team ,").unwrap();
        assert_eq!(read["authorization"], "Bearer a,b");
        assert_eq!(read["x-scope"], "team");
        assert!(read["authorization"].is_sensitive());
        assert_eq!(headers("").unwrap().len(), 0);
        assert_eq!(headers("secret").unwrap_err(), "write NAME=VALUE, separated by commas");
        assert_eq!(headers("a b=secret").unwrap_err(), "\"a b\" is no name of a header");
        assert_eq!(headers("a=secret%0A").unwrap_err(), "the value of a is not valid");
    }

    #[test]
    fn some_failures_pass() {
        let is_temporary = |error: Result<(), SendError>| error.unwrap_err().is_temporary();
        for (status, expected) in [(429, true), (503, true), (302, false), (400, false), (500, false)] {
            let status = http::StatusCode::from_u16(status).unwrap();
            assert_eq!(is_temporary(check_status(status)), expected, "{status}");
        }
        for (code, expected) in [("14", true), ("8", true), ("3", false), ("16", false)] {
            let trailers = HeaderMap::from_iter([(
                HeaderName::from_static("grpc-status"),
                HeaderValue::from_static(code),
            )]);
            assert_eq!(is_temporary(check_grpc_status(&HeaderMap::new(), &trailers)), expected, "{code}");
            assert_eq!(is_temporary(check_grpc_status(&trailers, &HeaderMap::new())), expected, "{code}");
        }
        check_grpc_status(&HeaderMap::new(), &HeaderMap::new()).unwrap_err();
    }

    #[tokio::test]
    async fn a_refusal_with_a_long_text_is_a_refusal() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let collector = Collector {
            endpoint: format!("http://{}", listener.local_addr().unwrap()).parse().unwrap(),
            protocol: Protocol::Http,
            ca_file: None,
            headers: HeaderMap::new(),
        };
        let answers = tokio::spawn(async move {
            let (mut stream, _) = listener.accept().await.unwrap();
            assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
            let text = "x".repeat(100 << 10);
            let answer = format!("HTTP/1.1 413 X\r\ncontent-length: {}\r\n\r\n{text}", text.len());
            // The client may have closed the connection before it has read all of it.
            let _ = stream.write_all(answer.as_bytes()).await;
        });
        let error = Transport::new(&collector).unwrap().send(&Request::default()).await.unwrap_err();
        assert_eq!(error.to_string(), "the collector answered 413 Payload Too Large");
        assert!(!error.is_temporary());
        answers.await.unwrap();
    }
}
