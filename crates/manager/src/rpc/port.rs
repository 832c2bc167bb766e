//! The gRPC port: services and limits. Every limit is set, because the defaults leave some of them out.

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

use super::in_flight::Requests;
use super::service::Deployments;
use crate::net::http;
use crate::net::tls::Credentials;
use crate::net::tls::acceptor::{AcceptLimits, accept};
use crate::net::tls::metrics::ConnectionMetrics;

/// How long open requests may take when the server ends.
pub(crate) const DRAIN: Duration = Duration::from_secs(10);
/// Requests at once on one connection.
const MAX_STREAMS: u32 = 100;
/// Streams that a client may open and reset, or break in another way, before the connection is closed (CVE-2023-44487
/// and its relatives).
const MAX_RESETS: usize = 20;
/// All headers of a request together, in bytes.
const MAX_HEADER_BYTES: u32 = 16 * 1024;
/// A request, in bytes: the longest valid one is far smaller.
const MAX_REQUEST_BYTES: usize = 64 * 1024;
/// A request to the services that come with gRPC, in bytes: a name and little more. Reflection repeats it in the answer.
const MAX_QUESTION_BYTES: usize = 4 * 1024;
/// What a client may send before it is read, in bytes: of one request, and on one connection. It is the smallest value
/// that HTTP/2 knows for connections, and enough, as requests are read at once.
const WINDOW: u32 = 65_535;
/// A request from start to end.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(30);
/// How often a quiet connection is asked whether it is still there, and how long it may take to answer.
const KEEPALIVE: Duration = Duration::from_secs(30);
const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(10);
/// How often readiness is looked at for the health service.
const HEALTH_INTERVAL: Duration = Duration::from_millis(500);

/// What the gRPC port serves.
pub(crate) struct Grpc<H> {
    pub(crate) service: Deployments,
    pub(crate) health: H,
    pub(crate) credentials: watch::Receiver<Credentials>,
    pub(crate) connections: ConnectionMetrics,
    pub(crate) requests: Requests,
}

impl<H: http::Health> Grpc<H> {
    /// Serves until `shutdown`, then finishes the requests under way.
    pub(crate) async fn serve(
        self,
        listener: TcpListener,
        shutdown: CancellationToken,
    ) -> anyhow::Result<()> {
        let Self { service, health, credentials, connections, requests } = self;
        let (reporter, health_service) = tonic_health::server::health_reporter();
        let routes =
            Routes::new(DeploymentsServiceServer::new(service).max_decoding_message_size(MAX_REQUEST_BYTES))
                .add_service(health_service.max_decoding_message_size(MAX_QUESTION_BYTES));
        let incoming = accept(listener, credentials, AcceptLimits::default(), connections, shutdown.clone());
        let serving = transport()
            .layer(requests)
            .add_routes(with_reflection(routes)?)
            .serve_with_incoming_shutdown(incoming, shutdown.clone().cancelled_owned());
        tokio::select! {
            served = serving => Ok(served?),
            never = report_health(reporter, health, shutdown) => match never {},
        }
    }
}

/// HTTP/2 with its limits, and nothing behind it yet.
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

/// Adds reflection, so that clients need no proto.
fn with_reflection(routes: Routes) -> anyhow::Result<Routes> {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(FILE_DESCRIPTOR_SET)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
            // The details of errors, so that clients with reflection can show them.
            .register_encoded_file_descriptor_set(tonic_types::pb::FILE_DESCRIPTOR_SET)
    };
    let v1 = builder().build_v1().context("reflection v1")?;
    let v1alpha = builder().build_v1alpha().context("reflection v1alpha")?;
    Ok(routes
        .add_service(v1.max_decoding_message_size(MAX_QUESTION_BYTES))
        .add_service(v1alpha.max_decoding_message_size(MAX_QUESTION_BYTES)))
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
        // Each report is sent to all who watch, even one that says the same again.
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
