//! The gRPC port: services and limits. Every limit is set, because some have no default.

use std::convert::Infallible;
use std::time::Duration;

use anyhow::Context;
use replica_count_api::FILE_DESCRIPTOR_SET;
use replica_count_api::proto::deployments_service_server::{DeploymentsServiceServer, SERVICE_NAME};
use tokio::net::TcpListener;
use tokio::sync::watch;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;
use tonic_health::ServingStatus;

use super::calls::Calls;
use super::in_flight::Requests;
use super::service::Deployments;
use crate::net::http;
use crate::net::tls::Credentials;
use crate::net::tls::acceptor::{AcceptLimits, accept};
use crate::net::tls::metrics::ConnectionMetrics;

/// How long requests in flight may take when the server ends.
pub(crate) const DRAIN: Duration = Duration::from_secs(10);
/// Concurrent requests on one connection.
const MAX_STREAMS: u32 = 100;
/// Streams that a client may open and reset, or break in another way, before the connection is closed (CVE-2023-44487
/// and similar attacks).
const MAX_RESETS: usize = 20;
/// The maximum size of all headers of a request together, in bytes.
const MAX_HEADER_BYTES: u32 = 16 * 1024;
/// The maximum size of a request, in bytes. Valid ones are much smaller.
const MAX_REQUEST_BYTES: usize = 64 * 1024;
/// The maximum size of a request to health or reflection, in bytes. Valid ones are little more than a name. Reflection
/// repeats the request in its answer.
const MAX_STANDARD_REQUEST_BYTES: usize = 4 * 1024;
/// How many bytes a client may send before they are read, for one request and on one connection. It is the smallest
/// value that HTTP/2 allows for connections, and enough because requests are read at once.
const WINDOW: u32 = 65_535;
/// How long a request may take.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a quiet connection is pinged, and how long it may take to answer.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often the health service checks readiness.
const HEALTH_INTERVAL: Duration = Duration::from_millis(500);

/// What the gRPC port serves.
pub(crate) struct Grpc<H> {
    pub(crate) service: Deployments,
    pub(crate) health: H,
    pub(crate) credentials: watch::Receiver<Credentials>,
    pub(crate) connections: ConnectionMetrics,
    pub(crate) requests: Requests,
    pub(crate) calls: Calls,
}

impl<H: http::Health> Grpc<H> {
    /// Serves until `shutdown`, then finishes the requests in flight.
    pub(crate) async fn serve(
        self,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let Self { service, health, credentials, connections, requests, calls } = self;
        let (reporter, health_service) = tonic_health::server::health_reporter();
        let routes =
            Routes::new(DeploymentsServiceServer::new(service).max_decoding_message_size(MAX_REQUEST_BYTES))
                .add_service(health_service.max_decoding_message_size(MAX_STANDARD_REQUEST_BYTES));
        let incoming = accept(listener, credentials, AcceptLimits::default(), connections, shutdown.clone());
        let serving = transport()
            // Around the limits, so that refused requests are counted, too.
            .layer(calls)
            .layer(requests)
            .add_routes(with_reflection(routes)?)
            .serve_with_incoming_shutdown(incoming, shutdown.clone().cancelled_owned());
        tokio::select! {
            served = serving => Ok(served?),
            never = report_health(reporter, health, shutdown) => match never {},
        }
    }
}

/// An HTTP/2 server with its limits, without services.
pub fn transport() -> Server {
    Server::builder()
        .max_concurrent_streams(MAX_STREAMS)
        .initial_stream_window_size(WINDOW)
        .initial_connection_window_size(WINDOW)
        .http2_max_pending_accept_reset_streams(Some(MAX_RESETS))
        .http2_max_local_error_reset_streams(Some(MAX_RESETS))
        .http2_max_header_list_size(MAX_HEADER_BYTES)
        .http2_keepalive_interval(Some(KEEPALIVE))
        .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
        .timeout(REQUEST_TIMEOUT)
}

/// Adds reflection, so that clients need no proto file.
fn with_reflection(routes: Routes) -> anyhow::Result<Routes> {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // The error details, so that clients with reflection can show them.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let v1 = builder().build_v1().context("reflection v1")?;
    let v1alpha = builder().build_v1alpha().context("reflection v1alpha")?;
    Ok(routes
        .add_service(v1.max_decoding_message_size(MAX_STANDARD_REQUEST_BYTES))
        .add_service(v1alpha.max_decoding_message_size(MAX_STANDARD_REQUEST_BYTES)))
}

/// Keeps the health service up to date: serving while ready, not serving from `shutdown` on.
async fn report_health(
    reporter: tonic_health::server::HealthReporter,
    health: impl http::Health,
    shutdown: CancellationToken,
) -> Infallible {
    let mut interval = tokio::time::interval(HEALTH_INTERVAL);
    let mut reported = None;
    loop {
        let is_serving = health.ready().is_ok() && !shutdown.is_cancelled();
        let status = if is_serving { ServingStatus::Serving } else { ServingStatus::NotServing };
        // Each report is sent to all watchers, even if nothing changed.
        if reported.replace(is_serving) != Some(is_serving) {
            for name in ["", SERVICE_NAME] {
                reporter.set_service_status(name, status).await;
            }
        }
        tokio::select! {
            _ = interval.tick() => {}
            () = shutdown.cancelled(), if is_serving => {}
        }
    }
}
