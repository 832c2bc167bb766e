//! How to reach a server, and the timeouts.

use std::sync::Arc;
use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::ServerName;
use tonic::transport::Error;

use crate::address::Address;
use crate::connection::Connection;
use crate::credentials::Credentials;
use crate::describe::chain;
use crate::dial::{Dial, Dialler};
use crate::resolve::Resolver;

/// The default timeout for connecting and for each call.
const TIMEOUT: Duration = Duration::from_secs(10);

/// The address of a server and how to call it. Nothing is connected yet.
#[derive(Clone, Debug)]
pub struct Endpoint(tonic::transport::Endpoint);

/// The arguments cannot be used with any server.
#[derive(Debug, thiserror::Error)]
pub enum EndpointError {
    /// No certificate can have such a name.
    #[error("the server's certificate cannot have the name {0:?}: it is not a DNS name or an IP address")]
    ServerName(String),
    /// The TLS library refuses the credentials.
    #[error("the certificates cannot be used: {}", chain(.0))]
    Tls(Error),
}

/// There is no connection to the server.
#[derive(Debug, thiserror::Error)]
#[error("cannot connect: {}", chain(.0))]
pub struct ConnectError(Error);

impl Endpoint {
    /// A server whose certificate must have the name `server_name`, by default the host of the address.
    pub fn new(
        address: &Address,
        credentials: &Credentials,
        server_name: Option<&str>,
    ) -> Result<Self, EndpointError> {
        let name = server_name.unwrap_or_else(|| address.host());
        ServerName::try_from(name).map_err(|_| EndpointError::ServerName(name.to_owned()))?;
        let endpoint = tonic::transport::Endpoint::from_shared(format!("https://{address}"))
            .and_then(|endpoint| endpoint.tls_config(credentials.tls().domain_name(name)))
            .map_err(EndpointError::Tls)?;
        Ok(Self(endpoint).with_timeout(TIMEOUT))
    }

    /// Sets the timeout for connecting, including the handshake, and for each call. The default is 10 seconds.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self(self.0.connect_timeout(timeout).timeout(timeout))
    }

    /// Connects.
    pub async fn connect(&self) -> Result<Connection, ConnectError> {
        self.0.connect_with_connector(tcp()).await.map(Connection::new).map_err(ConnectError)
    }

    /// Connects through streams that `dial` opens, also after one has ended. The address only gives the name of the
    /// server.
    pub async fn connect_through(&self, dial: Arc<dyn Dial>) -> Result<Connection, ConnectError> {
        self.0.connect_with_connector(Dialler(dial)).await.map(Connection::new).map_err(ConnectError)
    }

    /// Ends a connection on which the server does not answer a ping: sent every `interval` while calls are in flight,
    /// to be answered within the same time.
    #[must_use]
    pub fn with_keep_alive(self, interval: Duration) -> Self {
        Self(self.0.http2_keep_alive_interval(interval).keep_alive_timeout(interval))
    }

    /// Connects with the first call, which fails if connecting fails.
    pub fn connect_lazy(&self) -> Connection {
        Connection::new(self.0.connect_with_connector_lazy(tcp()))
    }
}

/// Each connector has its own resolver: a name that was not found before may exist now.
fn tcp() -> HttpConnector<Resolver> {
    let mut connector = HttpConnector::new_with_resolver(Resolver::default());
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector
}
