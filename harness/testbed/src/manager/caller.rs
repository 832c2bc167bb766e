//! A TLS client that is free to be wrong: in the version, the protocol or the certificate; or to say next to nothing.

use std::io;
use std::net::SocketAddr;
use std::sync::Arc;

use rustls::crypto::aws_lc_rs;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::version::TLS13;
use rustls::{AlertDescription, ClientConfig, Error, RootCertStore, SupportedProtocolVersion};
use tokio::io::AsyncReadExt as _;
use tokio::net::{TcpSocket, TcpStream};
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::Certificates;
use super::client::SERVER_NAME;

/// How a client of TLS introduces itself.
#[derive(Clone, Debug)]
pub struct Caller {
    /// The only version that it speaks.
    pub version: &'static SupportedProtocolVersion,
    /// The only protocol that it speaks over TLS, by its ALPN name.
    pub protocol: &'static str,
    /// Whose certificate it shows.
    pub name: Option<&'static str>,
}

impl Caller {
    /// One that is let in.
    pub const GOOD: Self = Self { version: &TLS13, protocol: "h2", name: Some("client") };

    /// Connects, trusting `ours` and with a certificate of `theirs`.
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
                builder.with_client_auth_cert(
                    vec![certificate],
                    PrivateKeyDer::from_pem_file(theirs.key(name))?,
                )?
            }
        };
        config.alpn_protocols = vec![self.protocol.into()];
        Ok(config)
    }
}

/// The alert that a connection ends with, if it does. A client with a certificate learns only when it reads that it is
/// refused.
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

/// The first byte of a TLS record that holds a handshake.
pub const HANDSHAKE: u8 = 22;

/// A connection without a handshake, from another address than that of good clients.
pub async fn intrude(address: SocketAddr) -> io::Result<TcpStream> {
    let socket = TcpSocket::new_v4()?;
    socket.bind(SocketAddr::from(([127, 0, 0, 2], 0)))?;
    socket.connect(address).await
}
