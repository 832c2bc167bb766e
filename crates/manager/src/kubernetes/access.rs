//! What it takes to talk to the API server, with everything inline: no file is read and no program run for it later.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use http::{HeaderValue, Uri, header};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::rt::TokioExecutor;
use kube::Config;
use kube::client::middleware::{BaseUri, ExtraHeaders};
use kube::client::{Body, ConfigExt as _};
use kube::config::AuthInfo;
use tower::{Layer as _, ServiceBuilder};

use super::connector::{self, Connector, Deadline};
use super::credentials::{ClientCertificate, encode};
use super::proxy::{Protocol, Proxy};

/// How long an idle connection is kept.
const POOL_IDLE: Duration = Duration::from_mins(1);
/// How long a connection may take: its name, TCP, a proxy, and TLS.
const CONNECT_DEADLINE: Duration = Duration::from_secs(10);

/// Sends requests over connections that it keeps.
pub(super) type Connections = hyper_util::client::legacy::Client<Deadline<HttpsConnector<Connector>>, Body>;
/// The same, for requests without address and headers.
pub(super) type Requests = BaseUri<ExtraHeaders<Connections>>;

/// What it takes to talk to the API server.
#[derive(Clone, PartialEq)]
pub(super) struct Access {
    pub(super) endpoint: Endpoint,
    /// The value of the header `Authorization`.
    pub(super) authorization: Option<HeaderValue>,
    pub(super) impersonation: Impersonation,
}

/// What connections need.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct Endpoint {
    pub(super) server: Uri,
    /// The name in the server's certificate, if it is not that of the address.
    pub(super) server_name: Option<String>,
    pub(super) trust: Trust,
    pub(super) proxy: Option<Proxy>,
    pub(super) certificate: Option<ClientCertificate>,
}

/// Whose certificates the API server may show.
#[derive(Clone, PartialEq, Eq)]
pub(super) enum Trust {
    /// Those of the authorities that browsers trust.
    PublicAuthorities,
    /// Those of these authorities (DER).
    Authorities(Vec<Vec<u8>>),
    /// Any.
    Anybody,
}

/// How a server is spoken to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HttpVersion {
    /// HTTP/1.1.
    One,
    /// HTTP/2 alone, as gRPC needs it; without TLS, too.
    Two,
}

/// Who to act as.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Impersonation {
    pub(super) user: Option<String>,
    pub(super) uid: Option<String>,
    pub(super) groups: Option<Vec<String>>,
    pub(super) extra: Option<BTreeMap<String, Vec<String>>>,
}

/// What was read cannot be used.
#[derive(Debug, thiserror::Error)]
#[error("the Kubernetes configuration cannot be used: {0}")]
pub struct Unusable(#[from] pub(super) kube::Error);

impl Access {
    /// Requests over these connections, as this identity.
    pub(super) fn requests(&self, connections: Connections) -> Result<Requests, Unusable> {
        let mut config = Config::new(self.endpoint.server.clone());
        let authorization = self.authorization.iter().map(|value| (header::AUTHORIZATION, value.clone()));
        config.headers = authorization.collect();
        let Impersonation { user, uid, groups, extra } = self.impersonation.clone();
        config.auth_info.impersonate = user;
        config.auth_info.impersonate_uid = uid;
        config.auth_info.impersonate_groups = groups;
        config.auth_info.impersonate_user_extra = extra.map(|extra| extra.into_iter().collect());
        let headers = config.extra_headers_layer()?;
        Ok(ServiceBuilder::new().layer(config.base_uri_layer()).service(headers.layer(connections)))
    }
}

impl Endpoint {
    /// Creates connections to this endpoint. Does not connect.
    pub(super) fn connections(&self, version: HttpVersion) -> Result<Connections, Unusable> {
        let connector = match &self.proxy {
            None => Connector::Direct(connector::tcp()),
            Some(proxy) => {
                let config = self.config_of_proxy(proxy);
                let connector = config.rustls_https_connector_with_connector(connector::tcp())?;
                Connector::through(Arc::new(proxy.clone()), connector)
            }
        };
        let mut builder = hyper_util::client::legacy::Client::builder(TokioExecutor::new());
        let connector = match version {
            HttpVersion::One => self.config().rustls_https_connector_with_connector(connector)?,
            HttpVersion::Two => {
                builder.http2_only(true);
                let tls = self.config().rustls_client_config()?;
                let https = HttpsConnectorBuilder::new().with_tls_config(tls).https_or_http();
                https.enable_http2().wrap_connector(connector)
            }
        };
        Ok(builder.pool_idle_timeout(POOL_IDLE).build(Deadline::new(connector, CONNECT_DEADLINE)))
    }

    fn config(&self) -> Config {
        let mut config = Config::new(self.server.clone());
        config.tls_server_name.clone_from(&self.server_name);
        match &self.trust {
            Trust::PublicAuthorities => {}
            Trust::Authorities(certificates) => config.root_cert = Some(certificates.clone()),
            Trust::Anybody => config.accept_invalid_certs = true,
        }
        if let Some(certificate) = &self.certificate {
            config.auth_info = AuthInfo {
                client_certificate_data: Some(encode(&certificate.chain)),
                client_key_data: Some(encode(&certificate.key).into()),
                ..AuthInfo::default()
            };
        }
        config
    }

    /// A proxy that wants TLS is trusted like the API server, as in Go, but learns nothing of the client.
    fn config_of_proxy(&self, proxy: &Proxy) -> Config {
        match proxy.protocol {
            Protocol::Http | Protocol::Socks5 => Config::new(proxy.uri()),
            Protocol::Https => Self { server_name: None, certificate: None, ..self.clone() }.config(),
        }
    }
}
