//! The `check` subcommand: calls a server the way its clients do. With it, people, pipelines and `helm test` can check
//! a server from an image without any other tool.

use std::io::{self, Write};
use std::path::PathBuf;
use std::time::Duration;

use clap::Args;
use replica_count_api::proto::{self, ListDeploymentsRequest};
use replica_count_client::credentials::CredentialsError;
use replica_count_client::describe::describe;
use replica_count_client::endpoint::EndpointError;
use replica_count_client::pages::Pages;
use replica_count_client::{Address, CredentialFiles, Endpoint, retry};
use replica_count_core::kind::{ByKind, Kind};

const EXAMPLES: &str = "\
Examples:
  A server on this machine, or behind a port-forward, with the certificates of `kubectl-replicas certs`:
    replica-count-manager check
  Another server, which may still be starting:
    replica-count-manager check --address replicas.example.com:8080 --wait 60

Exit status: 0 when the server serves, 1 when it does not, 64 when a flag or a file that it names is not usable.";

/// Call a server over mutual TLS, to check that it is healthy and lists what it manages
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct CheckArgs {
    /// Address of the server
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:8080")]
    address: Address,
    /// Certificates of the authorities that sign servers (PEM)
    #[arg(long, value_name = "FILE", default_value = "certificates/ca/ca.crt")]
    ca: PathBuf,
    /// Certificate of this client (PEM)
    #[arg(long, value_name = "FILE", default_value = "certificates/client/client.crt")]
    cert: PathBuf,
    /// Private key of that certificate (PEM)
    #[arg(long, value_name = "FILE", default_value = "certificates/client/client.key")]
    key: PathBuf,
    /// Name that the certificate of the server must have [default: the host of the address]
    #[arg(long, value_name = "NAME")]
    server_name: Option<String>,
    /// Seconds to keep trying until the server serves
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=3600))]
    wait: u16,
}

/// Why the check failed. Each message is one line.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// A file cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The files can be used, but not with this server name.
    #[error(transparent)]
    Endpoint(#[from] EndpointError),
    /// The server does not serve, for the reason of the last attempt.
    #[error("{address}: {reason}")]
    Server {
        /// The address of the server.
        address: Address,
        /// What went wrong.
        reason: String,
    },
    /// The runtime cannot start, or standard output is not writable.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl CheckError {
    /// Whether the cause is a flag or a file that it names.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::Credentials(_) | Self::Endpoint(_) => true,
            Self::Server { .. } | Self::Io(_) => false,
        }
    }
}

impl CheckArgs {
    /// Checks the server, and prints how many workloads it manages.
    pub fn run(self) -> Result<(), CheckError> {
        let Self { address, ca, cert, key, server_name, wait } = self;
        let credentials = CredentialFiles { authority: ca, certificate: cert, key }.load()?;
        let endpoint = Endpoint::new(&address, &credentials, server_name.as_deref())?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let managed = retry::until(Duration::from_secs(wait.into()), async || attempt(&endpoint).await);
        match runtime.block_on(managed) {
            Ok(managed) => Ok(writeln!(io::stdout(), "{address} serves and manages {}", text(managed))?),
            Err(reason) => Err(CheckError::Server { address, reason }),
        }
    }
}

/// Makes one attempt; returns the number of managed workloads of each kind.
async fn attempt(endpoint: &Endpoint) -> Result<ByKind<usize>, String> {
    let connection = endpoint.connect().await.map_err(|error| error.to_string())?;
    connection.health().await.map_err(|error| error.to_string())?;
    let kinds = Kind::ALL.map(|kind| proto::Kind::from(kind).into()).into();
    let mut pages = Pages::new(&connection, ListDeploymentsRequest { kinds, ..Default::default() });
    let mut managed = ByKind::default();
    while let Some(page) = pages.next().await.map_err(|status| describe("ListDeployments", &status))? {
        for row in page.deployments_replica_config {
            // A newer server may know more kinds.
            if let Some(kind) = Kind::ALL.into_iter().find(|kind| proto::Kind::from(*kind) == row.kind()) {
                managed[kind] += 1;
            }
        }
    }
    Ok(managed)
}

/// For example "2 Deployments and 1 StatefulSet". Only the default kind is named if there is none of it.
fn text(managed: ByKind<usize>) -> String {
    let named = Kind::ALL.into_iter().filter(|kind| *kind == Kind::default() || managed[*kind] > 0);
    let named: Vec<String> = named
        .map(|kind| match managed[kind] {
            1 => format!("1 {kind}"),
            count => format!("{count} {kind}s"),
        })
        .collect();
    named.join(" and ")
}
