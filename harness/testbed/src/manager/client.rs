//! The client of the server under test.

use std::net::SocketAddr;
use std::time::Duration;

use anyhow::{Context as _, Result};
pub use replica_count_client::Deployments as Client;
use replica_count_client::Endpoint;

use super::certificates::Certificates;

/// A name that the server's certificate has, whatever address it is reached by.
pub const SERVER_NAME: &str = "localhost";

/// Generous: this machine may be busy with other tests.
const TIMEOUT: Duration = Duration::from_secs(30);

/// Connects as the person `name`.
pub async fn connect(address: SocketAddr, certificates: &Certificates, name: &str) -> Result<Client> {
    let credentials = certificates.files(name).load()?;
    let endpoint = Endpoint::new(&address.into(), &credentials, Some(SERVER_NAME))?.with_timeout(TIMEOUT);
    let connection = endpoint.connect().await;
    Ok(connection.with_context(|| format!("{address} as {name}"))?.deployments())
}
