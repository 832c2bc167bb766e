//! Connections to other servers than the API server, through the same proxies and within the same times.

use std::time::Duration;

use http::{Request, StatusCode, Uri, header};
use http_body_util::{BodyExt as _, Limited};
use kube::client::Body;
use tokio::time::timeout;

use super::access::{Connections, Endpoint, Trust, Unusable};
use super::cause::chain;
use super::proxy::Environment;
use super::retry_after;

/// How much of an answer is read, in bytes.
const MAX_ANSWER: usize = 16 << 10;

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

impl Outbound {
    /// Connections to the server of a URL. It must be trusted by these authorities (DER), or without any by those that
    /// browsers trust. Does not connect.
    pub fn new(url: &Uri, authorities: Option<Vec<Vec<u8>>>) -> Result<Self, OutboundError> {
        let proxy = Environment::read().proxy(url).map_err(|error| OutboundError(error.to_string()))?;
        let endpoint = Endpoint {
            server: url.clone(),
            server_name: None,
            trust: authorities.map_or(Trust::PublicAuthorities, Trust::Authorities),
            proxy,
            certificate: None,
        };
        let connections = endpoint.connections().map_err(|Unusable(error)| OutboundError(chain(&error)))?;
        Ok(Self { connections })
    }

    /// Sends a request, and waits for the whole answer.
    pub async fn send(&self, request: Request<Vec<u8>>, limit: Duration) -> Result<Answer, OutboundError> {
        let exchange = async {
            let answer = self.connections.request(request.map(Body::from)).await;
            let (head, body) = answer.map_err(|error| OutboundError(chain(&error)))?.into_parts();
            let body = Limited::new(body, MAX_ANSWER).collect().await;
            let text = body.map(|body| String::from_utf8_lossy(&body.to_bytes()).trim().to_owned());
            let location =
                head.headers.get(header::LOCATION).and_then(|value| value.to_str().ok()?.parse().ok());
            Ok(Answer {
                status: head.status,
                retry_after: retry_after::of(&head.headers),
                redirects_to: location.filter(|_| head.status.is_redirection()),
                text: text.unwrap_or_default(),
            })
        };
        timeout(limit, exchange)
            .await
            .map_err(|_elapsed| OutboundError(format!("no answer within {limit:?}")))?
    }
}
