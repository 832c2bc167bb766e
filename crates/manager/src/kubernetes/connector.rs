//! Connections to the API server: directly or through a proxy, with one deadline for all of their steps.

use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use http::Uri;
use hyper_rustls::{HttpsConnector, MaybeHttpsStream};
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::proxy::{SocksV5, Tunnel};
use hyper_util::rt::TokioIo;
use replica_count_client::resolve::Resolver;
use tokio::net::TcpStream;
use tokio::time::timeout;
use tower::{BoxError, Service};

use super::proxy::{Protocol, Proxy};

/// How long connecting by TCP may take.
const TCP_TIMEOUT: Duration = Duration::from_secs(5);
/// TCP keepalive: the idle time before the first probe, the interval, and the number of probes.
const KEEPALIVE: Duration = Duration::from_secs(3);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
const KEEPALIVE_PROBES: u32 = 3;
/// How long sent data may stay unacknowledged.
const USER_TIMEOUT: Duration = Duration::from_secs(5);

/// A TCP connector.
pub(super) type Tcp = HttpConnector<Resolver>;

/// A connection to the API server. TLS with it comes on top; the TLS in here is that with a proxy.
type Stream = MaybeHttpsStream<TokioIo<TcpStream>>;

/// Connects to the API server, without TLS.
#[derive(Clone)]
pub(super) enum Connector {
    /// Directly.
    Direct(Tcp),
    /// By HTTP CONNECT.
    Http { proxy: Arc<Proxy>, tunnel: Tunnel<HttpsConnector<Tcp>> },
    /// By SOCKS 5; the proxy resolves names.
    Socks { proxy: Arc<Proxy>, tunnel: SocksV5<HttpsConnector<Tcp>> },
}

/// A proxy gives no connection.
#[derive(Debug, thiserror::Error)]
#[error("through the proxy {proxy}")]
pub(super) struct ProxyFailed {
    /// Without its credentials.
    proxy: String,
    source: BoxError,
}

/// A connector whose connections detect within seconds that the peer is dead.
///
/// Otherwise each call that picks a dead connection from the pool would fail only at its deadline, one connection after
/// the other.
pub(super) fn tcp() -> Tcp {
    let mut connector = HttpConnector::new_with_resolver(Resolver::default());
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(TCP_TIMEOUT));
    connector.set_keepalive(Some(KEEPALIVE));
    connector.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    connector.set_keepalive_retries(Some(KEEPALIVE_PROBES));
    connector.set_tcp_user_timeout(Some(USER_TIMEOUT));
    connector
}

impl Connector {
    /// Through a proxy, to which `connector` connects.
    pub(super) fn through(proxy: Arc<Proxy>, connector: HttpsConnector<Tcp>) -> Self {
        match proxy.protocol {
            Protocol::Http | Protocol::Https => {
                let mut tunnel = Tunnel::new(proxy.uri(), connector);
                if let Some(credentials) = &proxy.credentials {
                    tunnel = tunnel.with_auth(credentials.basic());
                }
                Self::Http { proxy, tunnel }
            }
            Protocol::Socks5 => {
                let mut tunnel = SocksV5::new(proxy.uri(), connector);
                if let Some(credentials) = &proxy.credentials {
                    tunnel = tunnel.with_auth(credentials.user.clone(), credentials.password.clone());
                }
                Self::Socks { proxy, tunnel }
            }
        }
    }
}

impl Service<Uri> for Connector {
    type Response = Stream;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<Stream, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        match self {
            Self::Direct(tcp) => tcp.poll_ready(context).map_err(BoxError::from),
            Self::Http { tunnel, .. } => tunnel.poll_ready(context).map_err(BoxError::from),
            Self::Socks { tunnel, .. } => tunnel.poll_ready(context).map_err(BoxError::from),
        }
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        match self {
            Self::Direct(tcp) => {
                let connecting = tcp.call(server);
                async move { Ok(MaybeHttpsStream::Http(connecting.await?)) }.boxed()
            }
            Self::Http { proxy, tunnel } => {
                let (proxy, connecting) = (Arc::clone(proxy), tunnel.call(server));
                async move { connecting.await.map_err(|error| failed(&proxy, error)) }.boxed()
            }
            Self::Socks { proxy, tunnel } => {
                let (proxy, connecting) = (Arc::clone(proxy), tunnel.call(server));
                async move { connecting.await.map_err(|error| failed(&proxy, error)) }.boxed()
            }
        }
    }
}

fn failed(proxy: &Proxy, error: impl Into<BoxError>) -> BoxError {
    ProxyFailed { proxy: proxy.to_string(), source: error.into() }.into()
}

/// There was no connection in time.
#[derive(Debug, thiserror::Error)]
#[error("no connection within {0:?}")]
pub(super) struct ConnectTimeout(Duration);

/// A connector with a deadline for all steps: the name, TCP, the proxy and TLS. Without one, a connection that nobody
/// waits for any more would be tried forever.
#[derive(Clone)]
pub(super) struct Deadline<C> {
    connector: C,
    limit: Duration,
}

impl<C> Deadline<C> {
    pub(super) fn new(connector: C, limit: Duration) -> Self {
        Self { connector, limit }
    }
}

impl<C> Service<Uri> for Deadline<C>
where
    C: Service<Uri, Error = BoxError>,
    C::Future: Send + 'static,
    C::Response: Send + 'static,
{
    type Response = C::Response;
    type Error = BoxError;
    type Future = BoxFuture<'static, Result<C::Response, BoxError>>;

    fn poll_ready(&mut self, context: &mut Context<'_>) -> Poll<Result<(), BoxError>> {
        self.connector.poll_ready(context)
    }

    fn call(&mut self, server: Uri) -> Self::Future {
        let (connecting, limit) = (self.connector.call(server), self.limit);
        async move { timeout(limit, connecting).await.map_err(|_elapsed| ConnectTimeout(limit))? }.boxed()
    }
}

#[cfg(test)]
mod tests {
    use std::fs;

    use kube::client::ConfigExt as _;
    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;
    use tower::ServiceExt as _;

    use super::*;

    /// What the kernel shows for a connection with a running keepalive timer.
    const KEEPALIVE_TIMER: &str = "02";

    #[tokio::test]
    async fn quiet_connections_have_tcp_keepalive() {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let url: Uri = format!("http://{address}").parse().expect("valid");
        let connecting = Connector::Direct(tcp()).oneshot(url);
        let (connected, accepted) = tokio::join!(connecting, listener.accept());
        let (_connection, (_stream, peer)) = (connected.expect("connected"), accepted.expect("accepted"));
        let endpoints = format!("0100007F:{:04X} 0100007F:{:04X}", peer.port(), address.port());
        let table = fs::read_to_string("/proc/self/net/tcp").expect("Linux");
        let connection = table.lines().find(|line| line.contains(&endpoints)).expect("the client's end");
        let timer = connection.split_whitespace().nth(5).and_then(|field| field.split(':').next());
        assert_eq!(timer, Some(KEEPALIVE_TIMER), "{connection}");
    }

    #[tokio::test(start_paused = true)]
    async fn a_connection_that_is_never_made_is_given_up() {
        let never = tower::service_fn(|_: Uri| std::future::pending::<Result<(), BoxError>>());
        let connecting = Deadline::new(never, Duration::from_secs(10)).oneshot(Uri::from_static("http://x"));
        let ended = timeout(Duration::from_mins(1), connecting).await.expect("an end");
        assert_eq!(ended.expect_err("never made").to_string(), "no connection within 10s");
    }

    #[tokio::test]
    async fn a_socks_proxy_is_asked_for_the_name() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let proxy = format!("socks5://{}", listener.local_addr().expect("bound"));
        let proxy = Proxy::parse("proxy-url", &proxy).expect("valid");
        let config = kube::Config::new(proxy.uri());
        let tls = config.rustls_https_connector_with_connector(tcp()).expect("a connector");
        let connecting =
            Connector::through(Arc::new(proxy), tls).oneshot(Uri::from_static("https://k8s.example:6443"));
        let answering = async {
            let (mut stream, _) = listener.accept().await.expect("accepted");
            let (mut hello, mut request) = ([0; 3], [0; 18]);
            stream.read_exact(&mut hello).await.expect("a greeting");
            stream.write_all(&[5, 0]).await.expect("sent");
            stream.read_exact(&mut request).await.expect("a request");
            stream.write_all(&[5, 0, 0, 1, 0, 0, 0, 0, 0, 0]).await.expect("sent");
            request
        };
        let (connected, request) = tokio::join!(connecting, answering);
        connected.expect("a tunnel");
        assert_eq!(&request, b"\x05\x01\x00\x03\x0bk8s.example\x19\x2b");
    }
}
