//! The `check` subcommand: calls a server the way its clients do. So people, pipelines and `helm test` can tell that a
//! server can be used without any other tool, from an image that has none.

use std::error::Error;
use std::fs;
use std::io::{self, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use clap::Args;
use http::uri::Authority;
use hyper_util::client::legacy::connect::HttpConnector;
use replica_count_api::proto::ListDeploymentsRequest;
use replica_count_api::proto::deployments_service_client::DeploymentsServiceClient;
use replica_count_api::proto::deployments_service_server::SERVICE_NAME;
use tokio::time::{self, Instant};
use tonic::Status;
use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity};
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;

use crate::net::resolve::Resolver;

/// How long one attempt may take, to connect and for each call.
const TIMEOUT: Duration = Duration::from_secs(10);

/// From the end of an attempt to the next one.
const INTERVAL: Duration = Duration::from_millis(500);

const EXAMPLES: &str = "\
Examples:
  A server on this machine, or behind a port-forward, with the certificates that `kubectl-replicas certs` made:
    replica-count-manager check
  Another one, which may still be starting:
    replica-count-manager check --address replicas.example.com:8080 --wait 60

Exit status: 0 when the server serves, 1 when it does not, 64 when a flag or a file that it names is not usable.";

/// Call a server over mutual TLS: is it healthy, and does it list its Deployments?
#[derive(Args, Debug)]
#[command(after_help = EXAMPLES)]
pub struct CheckArgs {
    /// Where the server is
    #[arg(long, value_name = "HOST:PORT", default_value = "localhost:8080", value_parser = with_port)]
    address: Authority,
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
    /// Seconds to go on trying until the server serves
    #[arg(long, value_name = "N", default_value_t = 0, value_parser = clap::value_parser!(u16).range(..=3600))]
    wait: u16,
}

/// Why the check failed. One line each.
#[derive(Debug, thiserror::Error)]
pub enum CheckError {
    /// A file cannot be read.
    #[error("{}: {source}", file.display())]
    File {
        /// The file.
        file: PathBuf,
        /// The file system's answer.
        source: io::Error,
    },
    /// The files can be read, but not used.
    #[error("the certificates cannot be used: {}", chain(.0))]
    Unusable(tonic::transport::Error),
    /// The server does not serve, for the reason of the last attempt.
    #[error("{address}: {reason}")]
    Server {
        /// Where it is.
        address: Authority,
        /// What happened.
        reason: String,
    },
    /// There is no place to run, or to say how it went.
    #[error(transparent)]
    Io(#[from] io::Error),
}

impl CheckError {
    /// Whether a flag, or a file that it names, is to blame.
    pub fn is_usage(&self) -> bool {
        match self {
            Self::File { .. } | Self::Unusable(_) => true,
            Self::Server { .. } | Self::Io(_) => false,
        }
    }
}

impl CheckArgs {
    /// Checks the server, and says how many Deployments it manages.
    pub fn run(self) -> Result<(), CheckError> {
        let endpoint = self.endpoint()?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let managed = runtime.block_on(until_serving(&endpoint, Duration::from_secs(self.wait.into())));
        match managed {
            Ok(1) => writeln!(io::stdout(), "{} serves and manages 1 Deployment", self.address)?,
            Ok(count) => writeln!(io::stdout(), "{} serves and manages {count} Deployments", self.address)?,
            Err(reason) => return Err(CheckError::Server { address: self.address, reason }),
        }
        Ok(())
    }

    fn endpoint(&self) -> Result<Endpoint, CheckError> {
        let name = self.server_name.as_deref().unwrap_or_else(|| self.address.host());
        let tls = ClientTlsConfig::new()
            .ca_certificate(Certificate::from_pem(read(&self.ca)?))
            .identity(Identity::from_pem(read(&self.cert)?, read(&self.key)?))
            .domain_name(name.trim_matches(['[', ']']));
        let endpoint = Endpoint::from_shared(format!("https://{}", self.address))
            .and_then(|endpoint| endpoint.tls_config(tls))
            .map_err(CheckError::Unusable)?;
        Ok(endpoint.connect_timeout(TIMEOUT).timeout(TIMEOUT))
    }
}

fn with_port(text: &str) -> Result<Authority, String> {
    let address: Authority = text.parse().map_err(|error: http::uri::InvalidUri| error.to_string())?;
    match address.port_u16() {
        Some(_) if !address.as_str().contains('@') => Ok(address),
        _ => Err("write HOST:PORT".to_owned()),
    }
}

fn read(file: &Path) -> Result<Vec<u8>, CheckError> {
    fs::read(file).map_err(|source| CheckError::File { file: file.to_owned(), source })
}

/// The number of managed Deployments, or why the last attempt within `patience` failed.
async fn until_serving(endpoint: &Endpoint, patience: Duration) -> Result<usize, String> {
    let deadline = Instant::now() + patience;
    loop {
        match attempt(endpoint).await {
            Err(_) if Instant::now() + INTERVAL <= deadline => time::sleep(INTERVAL).await,
            outcome => return outcome,
        }
    }
}

async fn attempt(endpoint: &Endpoint) -> Result<usize, String> {
    let connected = endpoint.connect_with_connector(tcp()).await;
    let channel = connected.map_err(|error| format!("cannot connect: {}", chain(&error)))?;
    health(channel.clone()).await?;
    let mut client = DeploymentsServiceClient::new(channel);
    let listed = client.list_deployments(ListDeploymentsRequest::default()).await;
    let rows = listed.map_err(|status| describe("ListDeployments", &status))?;
    Ok(rows.into_inner().deployments_replica_config.len())
}

/// With a resolver of its own: a name that an earlier attempt did not find may be there now.
fn tcp() -> HttpConnector<Resolver> {
    let mut connector = HttpConnector::new_with_resolver(Resolver::default());
    connector.enforce_http(false);
    connector
}

async fn health(channel: Channel) -> Result<(), String> {
    let request = HealthCheckRequest { service: SERVICE_NAME.to_owned() };
    let answer = HealthClient::new(channel).check(request).await;
    let answer = answer.map_err(|status| describe("the health check", &status))?.into_inner();
    match answer.status() {
        ServingStatus::Serving => Ok(()),
        ServingStatus::NotServing => Err("is not ready: its log and /readyz say why".to_owned()),
        ServingStatus::Unknown | ServingStatus::ServiceUnknown => {
            Err(format!("does not know the service {SERVICE_NAME}"))
        }
    }
}

/// A status of the server is told by its message; one that the transport made hides the reason in its sources.
fn describe(what: &str, status: &Status) -> String {
    match status.source() {
        None => format!("{what} failed: {:?}: {}", status.code(), status.message()),
        Some(source) => format!("{what} failed: {}", chain(source)),
    }
}

/// An error and what caused it, in one line.
fn chain(error: &(dyn Error + 'static)) -> String {
    let mut words: Vec<String> = Vec::new();
    let mut next = Some(error);
    while let Some(error) = next {
        next = error.source();
        let text = error.to_string();
        // Some errors repeat what caused them.
        if words.last().is_none_or(|last| !last.ends_with(&text)) {
            words.push(text);
        }
    }
    words.join(": ")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check_address(text: &str, expected: Option<&str>) {
        let host = with_port(text).ok().map(|address| address.host().to_owned());
        assert_eq!(host.as_deref(), expected, "{text}");
    }

    #[test]
    fn an_address_has_a_host_and_a_port() {
        check_address("localhost:8080", Some("localhost"));
        check_address("[::1]:8080", Some("[::1]"));
        check_address("localhost", None);
        check_address("localhost:", None);
        check_address("localhost:99999", None);
        check_address("https://localhost:8080", None);
        check_address("someone@localhost:8080", None);
        check_address("", None);
    }

    #[test]
    fn an_error_is_told_with_its_causes_and_without_repetition() {
        #[derive(Debug, thiserror::Error)]
        #[error("{text}")]
        struct Told {
            text: &'static str,
            source: Option<Box<Told>>,
        }
        let cause = Told { text: "refused", source: None };
        let repeats = Told { text: "tcp: refused", source: Some(Box::new(cause)) };
        let error = Told { text: "transport error", source: Some(Box::new(repeats)) };
        assert_eq!(chain(&error), "transport error: tcp: refused");
    }
}
