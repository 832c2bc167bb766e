//! A TLS client that can use a wrong version, protocol or certificate, or skip the handshake.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::crypto::aws_lc_rs::sign::any_supported_type;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::sign::{CertifiedKey, SingleCertAndKey};
use rustls::version::TLS13;
use rustls::{
    AlertDescription, ClientConfig, ClientConnection, Error, RootCertStore, SupportedProtocolVersion,
};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Certificates;
use super::client::SERVER_NAME;

/// A TLS client.
#[derive(Clone, Debug)]
pub struct TlsClient {
    /// The only version it supports.
    pub version: &'static SupportedProtocolVersion,
    /// The only protocol it offers, by its ALPN name.
    pub protocol: &'static str,
    /// Whose certificate it uses; `None` for no certificate.
    pub name: Option<&'static str>,
}

impl TlsClient {
    /// A client that the server accepts.
    pub const GOOD: Self = Self { version: &TLS13, protocol: "h2", name: Some("client") };

    /// Connects with a certificate of `theirs`, and trusts the authority of `ours`.
    pub async fn connect(
        &self,
        address: SocketAddr,
        ours: &Certificates,
        theirs: &Certificates,
    ) -> io::Result<TlsStream<TcpStream>> {
        let config = self.config(ours, theirs).map_err(io::Error::other)?;
        let stream = TcpStream::connect(address).await?;
        let server = SERVER_NAME.try_into().map_err(io::Error::other)?;
        TlsConnector::from(Arc::new(config)).connect(server, stream).await
    }

    /// The first bytes that it sends.
    pub fn hello(&self, certificates: &Certificates) -> anyhow::Result<Vec<u8>> {
        let config = self.config(certificates, certificates)?;
        let mut hello = Vec::new();
        ClientConnection::new(Arc::new(config), SERVER_NAME.try_into()?)?.write_tls(&mut hello)?;
        Ok(hello)
    }

    fn config(&self, ours: &Certificates, theirs: &Certificates) -> anyhow::Result<ClientConfig> {
        let mut roots = RootCertStore::empty();
        roots.add(CertificateDer::from_pem_file(ours.authority())?)?;
        let builder = ClientConfig::builder_with_provider(Arc::new(aws_lc_rs::default_provider()))
            .with_protocol_versions(&[self.version])?
            .with_root_certificates(roots);
        let mut config = match self.name {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let certificate = CertificateDer::from_pem_file(theirs.certificate(name))?;
                let key = any_supported_type(&PrivateKeyDer::from_pem_file(theirs.key(name))?)?;
                // Unlike `with_client_auth_cert`, this also takes certificates that rustls cannot read.
                let certified = CertifiedKey::new(vec![certificate], key);
                builder.with_client_cert_resolver(Arc::new(SingleCertAndKey::from(certified)))
            }
        };
        config.alpn_protocols = vec![self.protocol.into()];
        Ok(config)
    }
}

/// The alert that ends a connection, if any. A client with a certificate only learns that it is refused when it reads.
pub async fn alert(connected: io::Result<TlsStream<TcpStream>>) -> Option<AlertDescription> {
    let error = match connected {
        Ok(mut stream) => stream.read_to_end(&mut Vec::new()).await.err()?,
        Err(error) => error,
    };
    match error.get_ref()?.downcast_ref()? {
        Error::AlertReceived(alert) => Some(*alert),
        _ => None,
    }
}

/// The first byte of a TLS handshake record.
pub const HANDSHAKE: u8 = 22;

/// Connects without a TLS handshake, from a different address than good clients.
pub async fn connect_without_handshake(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 2], 0)))?;
    socket.connect(address).await
}
