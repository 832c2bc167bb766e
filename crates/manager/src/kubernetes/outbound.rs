//! Connections to other servers than the API server, through the same proxies and within the same times.

use std::time::Duration;

use bytes::Bytes;
use http::response::Parts;
use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Collected, Limited};
use kube::client::Body;
use rustls::RootCertStore;
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::{self, PemObject as _};
use tokio::time::timeout;
use tower::BoxError;

pub use super::access::HttpVersion;
use super::access::{Connections, Endpoint, Trust, Unusable};
use super::cause::chain;
use super::proxy::Environment;
use super::retry_after;

/// How much of an answer is read, in bytes.
const MAX_ANSWER: usize = 64 << 10;

/// Sends requests to one server.
#[derive(Clone)]
pub struct Outbound {
    connections: Connections,
}

/// What a server answered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Answer {
    /// The status.
    pub status: StatusCode,
    /// How long it asks to wait.
    pub retry_after: Option<Duration>,
    /// Where it redirects to. It is never followed.
    pub redirects_to: Option<Uri>,
    /// The beginning of what it says; empty if that cannot be read.
    pub text: String,
}

/// The server cannot be sent to. The message is one line and shows no secret.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{0}")]
pub struct OutboundError(String);

/// A file has no authorities that can be used.
#[derive(Debug, thiserror::Error)]
pub enum AuthorityError {
    /// It is not PEM.
    #[error("{0}")]
    Pem(#[from] pem::Error),
    /// A certificate cannot be used.
    #[error("{0}")]
    Certificate(#[from] rustls::Error),
    /// It has none.
    #[error("there is no certificate in it")]
    Empty,
}

/// The certificates of authorities in a text (PEM), each of which can be used. At least one.
pub fn authorities(text: &[u8]) -> Result<Vec<Vec<u8>>, AuthorityError> {
    let certificates: Vec<_> = CertificateDer::pem_slice_iter(text).collect::<Result<_, _>>()?;
    let mut roots = RootCertStore::empty();
    for certificate in &certificates {
        roots.add(certificate.clone())?;
    }
    if roots.is_empty() {
        return Err(AuthorityError::Empty);
    }
    Ok(certificates.into_iter().map(|certificate| certificate.to_vec()).collect())
}

impl Outbound {
    /// Connections to the server of a URL. It must be trusted by these authorities (DER), or without any by those that
    /// browsers trust. Does not connect.
    pub fn new(
        url: &Uri,
        authorities: Option<Vec<Vec<u8>>>,
        version: HttpVersion,
    ) -> Result<Self, OutboundError> {
        let proxy = Environment::read().proxy(url).map_err(|error| OutboundError(error.to_string()))?;
        let endpoint = Endpoint {
            server: url.clone(),
            server_name: None,
            trust: authorities.map_or(Trust::PublicAuthorities, Trust::Authorities),
            proxy,
            certificate: None,
        };
        let connections = endpoint.connections(version);
        let connections = connections.map_err(|Unusable(error)| OutboundError(chain(&error)))?;
        Ok(Self { connections })
    }

    /// Sends a request, and waits for the whole answer.
    pub async fn send(&self, request: Request<Vec<u8>>, limit: Duration) -> Result<Answer, OutboundError> {
        let (head, body) = self.exchange(request, limit).await?;
        let text = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).trim().to_owned());
        let location = head.headers.get(header::LOCATION).and_then(|value| value.to_str().ok()?.parse().ok());
        Ok(Answer {
            status: head.status,
            retry_after: retry_after::of(&head.headers),
            redirects_to: location.filter(|_| head.status.is_redirection()),
            text: text.unwrap_or_default(),
        })
    }

    /// The same with all of the answer, if its body and trailers could be read.
    pub async fn exchange(
        &self,
        request: Request<Vec<u8>>,
        limit: Duration,
    ) -> Result<(Parts, Result<Collected<Bytes>, OutboundError>), OutboundError> {
        let exchange = async {
            let answer = self.connections.request(request.map(Body::from)).await;
            let (head, body) = answer.map_err(|error| OutboundError(chain(&error)))?.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await;
            Ok((head, body.map_err(|error: BoxError| OutboundError(chain(&*error)))))
        };
        timeout(limit, exchange)
            .await
            .map_err(|_elapsed| OutboundError(format!("no answer within {limit:?}")))?
    }
}
