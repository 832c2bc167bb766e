//! A gRPC client with mutual TLS.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use replica_count_api::proto::deployments_service_client::DeploymentsServiceClient;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};

use super::Certificates;

/// The generated client on a connection of its own.
pub type Client = DeploymentsServiceClient<Channel>;

/// A name that the server's certificate has, whatever address it is reached by.
pub(super) const SERVER_NAME: &str = "localhost";

const TIMEOUT: Duration = Duration::from_secs(30);

/// Connects as the person `name`.
pub async fn connect(address: SocketAddr, certificates: &Certificates, name: &str) -> Result<Client> {
    let pair = Identity::from_pem(read(&certificates.certificate(name))?, read(&certificates.key(name))?);
    let endpoint = endpoint(address, Certificate::from_pem(read(&certificates.authority())?), pair)?;
    let channel = endpoint.connect().await;
    Ok(Client::new(channel.with_context(|| format!("cannot connect to {address} as {name}"))?))
}

/// How a client with this pair reaches the server whose certificate is of `authority`, with generous timeouts.
pub fn endpoint(address: SocketAddr, authority: Certificate, pair: Identity) -> Result<Endpoint> {
    let tls = ClientTlsConfig::new().ca_certificate(authority).identity(pair).domain_name(SERVER_NAME);
    Ok(Endpoint::from_shared(format!("https://{address}"))?
        .tls_config(tls)?
        .connect_timeout(TIMEOUT)
        .timeout(TIMEOUT)
        .tcp_nodelay(true))
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("cannot read {}", path.display()))
}
