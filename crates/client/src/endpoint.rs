//! How a server is reached, and within which times.

use std::time::Duration;

use hyper_util::client::legacy::connect::HttpConnector;
use rustls::pki_types::ServerName;
use tonic::transport::Error;

use crate::address::Address;
use crate::connection::Connection;
use crate::credentials::Credentials;
use crate::describe::chain;
use crate::resolve::Resolver;

/// How long it may take to connect, and how long a call may take, unless the caller says otherwise.
const TIMEOUT: Duration = Duration::from_secs(10);

/// Where a server is and how it is called. Nothing is connected yet.
#[derive(Clone, Debug)]
pub struct Endpoint(tonic::transport::Endpoint);

/// What was given cannot be used, whatever server there is.
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
    /// A server whose certificate must have the name `server_name`, or else that of the address's host.
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

    /// Gives the connection, with its handshake, and each call this much time. It is 10 seconds otherwise.
    #[must_use]
    pub fn with_timeout(self, timeout: Duration) -> Self {
        Self(self.0.connect_timeout(timeout).timeout(timeout))
    }

    /// Connects.
    pub async fn connect(&self) -> Result<Connection, ConnectError> {
        self.0.connect_with_connector(tcp()).await.map(Connection::new).map_err(ConnectError)
    }

    /// Connects with the first call, whose outcome then says whether that succeeded.
    pub fn connect_lazy(&self) -> Connection {
        Connection::new(self.0.connect_with_connector_lazy(tcp()))
    }
}

/// Each has a resolver of its own: a name that was not found before may be there now.
fn tcp() -> HttpConnector<Resolver> {
    let mut connector = HttpConnector::new_with_resolver(Resolver::default());
    connector.enforce_http(false);
    connector.set_nodelay(true);
    connector
}
