//! Sends each request with the credentials that are current.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::{Request, StatusCode};
use kube::client::Body;
use tokio::sync::watch;
use tokio::time::timeout;
use tower::{BoxError, Service, ServiceExt as _};
use tracing::{info, warn};

use super::access::Requests;
use super::requests::{ApiRequests, Asked};
use super::standing::Standing;

/// How long a request waits for the first credentials.
const PATIENCE: Duration = Duration::from_secs(2);

type Response = <Requests as Service<Request<Body>>>::Response;

/// There are no credentials to send.
#[derive(Clone, Debug, thiserror::Error)]
#[error("no credentials to send: {0}")]
pub(super) struct NoCredentials(pub(super) Arc<str>);

/// What requests are sent with.
#[derive(Clone)]
pub(super) enum Current {
    /// Nothing yet: the credential plugin runs for the first time.
    Pending,
    /// Nothing yet, and why.
    Missing(NoCredentials),
    /// These credentials.
    Ready(Box<Ready>),
}

/// Credentials in use.
#[derive(Clone)]
pub(super) struct Ready {
    pub(super) requests: Requests,
    /// Where they come from, for the log.
    pub(super) from: Arc<str>,
    /// Grows by one per change.
    pub(super) generation: u64,
}

/// Sends each request with the credentials that are current.
#[derive(Clone)]
pub(super) struct Connection {
    pub(super) current: watch::Receiver<Current>,
    /// The generation that the API server refuses with 401; 0: none.
    pub(super) refused: watch::Sender<u64>,
    pub(super) standing: Standing,
    pub(super) requests: ApiRequests,
}

impl Connection {
    async fn send(mut self, request: Request<Body>) -> Result<Response, BoxError> {
        let Ready { requests, from, generation } = self.ready().await?;
        let asked = Asked::of(&request);
        let answer = requests.oneshot(request).await;
        self.requests.count(asked, answer.as_ref().ok().map(http::Response::status));
        let response = answer?;
        self.record(response.status(), generation, &from);
        Ok(response)
    }

    async fn ready(&mut self) -> Result<Ready, NoCredentials> {
        let known = self.current.wait_for(|current| !matches!(current, Current::Pending));
        match timeout(PATIENCE, known).await.ok().and_then(Result::ok).as_deref() {
            Some(Current::Ready(ready)) => Ok(Ready::clone(ready)),
            Some(Current::Missing(reason)) => Err(reason.clone()),
            Some(Current::Pending) | None => {
                Err(NoCredentials("the credential plugin is still running".into()))
            }
        }
    }

    /// Records what an answer says about the credentials in use: nothing if it was for older ones.
    pub(super) fn record(&self, status: StatusCode, generation: u64, from: &str) {
        let is_current =
            matches!(&*self.current.borrow(), Current::Ready(ready) if ready.generation == generation);
        match status {
            _ if !is_current => {}
            StatusCode::UNAUTHORIZED => self.set_refused(generation, from),
            // It may be the answer of a load balancer.
            status if status.is_server_error() => {}
            _ => self.set_accepted(generation),
        }
    }

    /// Records that the API server accepts the credentials.
    fn set_accepted(&self, generation: u64) {
        if let Some(duration) = self.standing.set_authenticated() {
            info!(after = ?duration, "the API server accepts the credentials");
        }
        // Nobody is woken: what is accepted needs no renewal.
        self.refused.send_if_modified(|refused| {
            if *refused == generation {
                *refused = 0;
            }
            false
        });
    }

    /// Records that the API server does not accept the credentials.
    fn set_refused(&self, generation: u64, from: &str) {
        if self.standing.set_unauthenticated() {
            warn!(
                credentials = from,
                "the API server does not accept the credentials (401); they are read again until it does: check that \
                 they are valid and not expired or revoked"
            );
        }
        self.refused.send_if_modified(|refused| std::mem::replace(refused, generation) != generation);
    }
}

impl Service<Request<Body>> for Connection {
    type Response = Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Response, BoxError>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, request: Request<Body>) -> Self::Future {
        self.clone().send(request).boxed()
    }
}
