//! The plain HTTP port, for the kubelet and for Prometheus. It shows no secrets and changes nothing.
//!
//! Each connection carries one request and lasts a few seconds at most. If there are too many, a new one replaces the
//! oldest, so that slow or many clients cannot block the port.

mod exposition;
#[cfg(test)]
mod tests;

use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode};
use axum::response::{IntoResponse, Response};
use axum::routing::get;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use hyper_util::server::conn::auto;
use hyper_util::service::TowerToHyperService;
use prometheus_client::registry::Registry;
use tokio::net::{TcpListener, TcpStream};
use tokio::time::timeout;
use tokio_util::sync::CancellationToken;
use tracing::{debug, error, warn};

use self::exposition::Format;
use super::listener::Listener;
use super::pending::Pending;

/// The maximum number of open connections; another one evicts the oldest.
const MAX_CONNECTIONS: usize = 64;
/// How long a client may take to send the head of its request.
const HEADER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long a connection may last, until the end of the response.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(15);
/// The same when the server ends: no client may delay that by sending no request or by not reading the response.
const DRAIN: Duration = Duration::from_secs(1);

const PATHS: &str = "not found; there are /healthz /livez /readyz /metrics\n";

/// The health of the server, for the health paths.
pub trait Health: Send + Sync + 'static {
    /// Whether the API server answers now. The error is one line.
    fn kubernetes(&self) -> impl Future<Output = Result<(), String>> + Send;

    /// Whether requests can be served. The error has one line for each reason.
    fn ready(&self) -> Result<(), String>;

    /// What does not work although requests can be served. One line for each problem.
    fn problems(&self) -> Vec<String>;
}

/// What the port serves.
#[derive(Debug)]
pub struct HttpState<H> {
    /// For the health paths.
    pub health: H,
    /// The metrics.
    pub registry: Registry,
}

/// Serves until `shutdown`, then answers requests in flight for up to a second.
pub async fn serve<H: Health>(listener: TcpListener, state: HttpState<H>, shutdown: CancellationToken) {
    let mut listener = Listener::new(listener);
    let router = router(Arc::new(state));
    let mut connections = Pending::new(MAX_CONNECTIONS);
    loop {
        tokio::select! {
            () = shutdown.cancelled() => break,
            Some(finished) = connections.next() => {
                if let Err(error) = finished {
                    error!(%error, "an HTTP connection ended without a result");
                }
            }
            accepted = listener.accept() => match accepted {
                Ok((stream, address)) => {
                    let connection = serve_connection(stream, address, router.clone(), shutdown.clone());
                    if let Some(oldest) = connections.admit(address, connection) {
                        debug!(address = %oldest, limit = MAX_CONNECTIONS, "too many HTTP connections");
                    }
                }
                Err(error) => warn!(%error, "cannot accept an HTTP connection"),
            },
        }
    }
    drop(listener);
    let drained = timeout(DRAIN, async { while connections.next().await.is_some() {} });
    if drained.await.is_err() {
        debug!(after = ?DRAIN, "aborting open HTTP connections");
    }
}

/// Serves one request.
async fn serve_connection(
    stream: TcpStream,
    address: SocketAddr,
    router: Router,
    shutdown: CancellationToken,
) {
    let mut builder = auto::Builder::new(TokioExecutor::new()).http1_only();
    builder.http1().timer(TokioTimer::new()).header_read_timeout(HEADER_TIMEOUT).keep_alive(false);
    let mut connection =
        pin!(builder.serve_connection(TokioIo::new(stream), TowerToHyperService::new(router)));
    let served = timeout(CONNECTION_TIMEOUT, async {
        tokio::select! {
            result = connection.as_mut() => result,
            () = shutdown.cancelled() => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        }
    });
    match served.await {
        Ok(Ok(())) => {}
        Ok(Err(error)) => debug!(%address, error, "an HTTP connection failed"),
        Err(_) => debug!(%address, timeout = ?CONNECTION_TIMEOUT, "an HTTP connection took too long"),
    }
}

fn router<H: Health>(state: Arc<HttpState<H>>) -> Router {
    Router::new()
        .route("/healthz", get(healthz))
        .route("/livez", get(livez))
        .route("/readyz", get(readyz))
        .route("/metrics", get(metrics))
        .fallback(async || (StatusCode::NOT_FOUND, PATHS))
        .with_state(state)
}

/// Whether Kubernetes can be reached.
async fn healthz<H: Health>(State(state): State<Arc<HttpState<H>>>) -> Response {
    ok_or_unavailable(state.health.kubernetes().await)
}

/// Shows only that the process is alive: an outage of the API server must never restart the pod.
async fn livez() -> &'static str {
    "ok\n"
}

/// Whether requests can be served.
async fn readyz<H: Health>(State(state): State<Arc<HttpState<H>>>) -> Response {
    match state.health.ready() {
        Ok(()) => {
            let problems: String =
                state.health.problems().into_iter().map(|problem| problem + "\n").collect();
            format!("ok\n{problems}").into_response()
        }
        refused @ Err(_) => ok_or_unavailable(refused),
    }
}

fn ok_or_unavailable(result: Result<(), String>) -> Response {
    match result {
        Ok(()) => "ok\n".into_response(),
        Err(reason) => (StatusCode::SERVICE_UNAVAILABLE, format!("{reason}\n")).into_response(),
    }
}

async fn metrics<H: Health>(State(state): State<Arc<HttpState<H>>>, headers: HeaderMap) -> Response {
    Format::of_request(&headers).respond(&state.registry).unwrap_or_else(|error| {
        error!(%error, "cannot encode the metrics");
        StatusCode::INTERNAL_SERVER_ERROR.into_response()
    })
}
