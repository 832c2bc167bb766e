//! How to find and connect to the API server.
//!
//! Each call has its own deadline, and each watch a limit for silence: see `reads`, `scale` and `watch`. The queue
//! retries failed calls, because it knows whether they are still needed. The client never does.

use std::path::PathBuf;
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use kube::client::{Body, ConfigExt};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use replica_count_client::resolve::Resolver;
use tower::{BoxError, ServiceBuilder};

/// How long connecting to the API server may take.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);
/// TCP keepalive: the idle time before the first probe, the interval, and the number of probes.
const KEEPALIVE: Duration = Duration::from_secs(3);
const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(1);
const KEEPALIVE_PROBES: u32 = 3;
/// How long sent data may stay unacknowledged.
const USER_TIMEOUT: Duration = Duration::from_secs(5);
/// How long an idle connection is kept.
const POOL_IDLE: Duration = Duration::from_mins(1);

/// Where the API server and the credentials come from.
#[derive(Clone, Debug, Default)]
pub struct Source {
    /// A kubeconfig file. `None`: `$KUBECONFIG`, `~/.kube/config`, or the pod's service account.
    pub kubeconfig: Option<PathBuf>,
    /// A context of the kubeconfig. `None`: its current one.
    pub context: Option<String>,
}

/// Why there is no usable configuration.
#[derive(Debug, thiserror::Error)]
pub enum ConnectError {
    /// The kubeconfig file cannot be used.
    #[error("--kubeconfig {path}: {reason}", path = path.display())]
    Kubeconfig {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// The context cannot be used.
    #[error("--context {context}: {reason}")]
    Context {
        /// The name of the context.
        context: String,
        /// What is wrong with it.
        reason: String,
    },
    /// There is neither a kubeconfig nor a service account.
    #[error(
        "no Kubernetes configuration: use --kubeconfig, KUBECONFIG, ~/.kube/config or a pod's service account ({0})"
    )]
    Infer(String),
    /// The configuration cannot be turned into a client.
    #[error("the Kubernetes configuration cannot be used: {0}")]
    Client(String),
}

impl Source {
    /// Reads the configuration. Does not connect.
    pub async fn load(&self) -> Result<Config, ConnectError> {
        let config = match (&self.kubeconfig, &self.context) {
            (None, None) => Config::infer().await.map_err(|error| ConnectError::Infer(one_line(&error)))?,
            (Some(path), context) => {
                let refused = |reason| ConnectError::Kubeconfig { path: path.clone(), reason };
                let kubeconfig = Kubeconfig::read_from(path).map_err(|error| refused(one_line(&error)))?;
                Config::from_custom_kubeconfig(kubeconfig, &options(context.clone()))
                    .await
                    .map_err(|error| refused(one_line(&error)))?
            }
            (None, Some(context)) => {
                let refused = |reason| ConnectError::Context { context: context.clone(), reason };
                Config::from_kubeconfig(&options(Some(context.clone())))
                    .await
                    .map_err(|error| refused(one_line(&error)))?
            }
        };
        Ok(config)
    }
}

/// Creates a client. Does not connect.
///
/// Unlike kube's own client, it lets TCP detect dead connections. Otherwise each call that picks a dead connection from
/// the pool would fail only at its deadline, one connection after the other.
pub fn client(config: &Config) -> Result<Client, ConnectError> {
    let refused = |error: kube::Error| ConnectError::Client(one_line(&error));
    if config.proxy_url.is_some() {
        return Err(ConnectError::Client("a proxy is not supported".to_owned()));
    }
    let connector = config.rustls_https_connector_with_connector(tcp()).map_err(refused)?;
    let http = hyper_util::client::legacy::Client::builder(TokioExecutor::new())
        .pool_idle_timeout(POOL_IDLE)
        .build::<_, Body>(connector);
    let service = ServiceBuilder::new()
        .layer(config.base_uri_layer())
        .option_layer(config.auth_layer().map_err(refused)?)
        .layer(config.extra_headers_layer().map_err(refused)?)
        .map_err(BoxError::from)
        .service(http);
    Ok(Client::new(service, config.default_namespace.clone()))
}

/// A connector whose connections detect within seconds that the peer is dead.
fn tcp() -> HttpConnector<Resolver> {
    let mut connector = HttpConnector::new_with_resolver(Resolver::default());
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector.set_connect_timeout(Some(CONNECT_TIMEOUT));
    connector.set_keepalive(Some(KEEPALIVE));
    connector.set_keepalive_interval(Some(KEEPALIVE_INTERVAL));
    connector.set_keepalive_retries(Some(KEEPALIVE_PROBES));
    connector.set_tcp_user_timeout(Some(USER_TIMEOUT));
    connector
}

fn options(context: Option<String>) -> KubeConfigOptions {
    KubeConfigOptions { context, ..KubeConfigOptions::default() }
}

/// An error and its causes in one line.
fn one_line(error: &dyn std::error::Error) -> String {
    let mut line = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        let text = error.to_string();
        if !line.contains(&text) {
            line = format!("{line}: {text}");
        }
        cause = error.source();
    }
    line.replace('\n', " ")
}

#[cfg(test)]
mod tests {
    use std::fs;

    use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
    use tokio::net::TcpListener;

    use super::*;

    /// What the kernel shows for a connection with a running keepalive timer.
    const KEEPALIVE_TIMER: &str = "02";

    #[tokio::test]
    async fn quiet_connections_have_tcp_keepalive() {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("bound");
        let config = Config::new(format!("http://{address}").parse().expect("valid"));
        let client = client(&config).expect("a client");
        let request = http::Request::get("/version").body(Vec::new()).expect("valid");
        let (answer, mut stream) = tokio::join!(client.request_text(request), async {
            let (mut stream, _) = listener.accept().await.expect("a connection");
            let _ = stream.read(&mut [0; 1024]).await.expect("a request");
            stream.write_all(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok").await.expect("sent");
            stream
        });
        assert_eq!(answer.expect("an answer"), "ok");

        let peer = stream.peer_addr().expect("connected");
        let endpoints = format!("0100007F:{:04X} 0100007F:{:04X}", peer.port(), address.port());
        let table = fs::read_to_string("/proc/self/net/tcp").expect("Linux");
        let connection = table.lines().find(|line| line.contains(&endpoints)).expect("the client's end");
        let timer = connection.split_whitespace().nth(5).and_then(|field| field.split(':').next());
        assert_eq!(timer, Some(KEEPALIVE_TIMER), "{connection}");
        stream.shutdown().await.expect("closed");
    }

    #[test]
    fn a_proxy_is_refused() {
        let mut config = Config::new("https://10.0.0.1".parse().expect("valid"));
        config.proxy_url = Some("http://proxy:3128".parse().expect("valid"));
        let refused = client(&config).err().map(|error| error.to_string());
        assert_eq!(
            refused.as_deref(),
            Some("the Kubernetes configuration cannot be used: a proxy is not supported")
        );
    }
}
