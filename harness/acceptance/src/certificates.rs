//! The certificates of the chart, read from their Secrets.

use std::fs;
use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result};
use k8s_openapi::api::core::v1::Secret;
use kube::{Api, Client};
use replica_count_client::Endpoint;
use replica_count_testbed::manager::SERVER_NAME;

use crate::fixture::NAME;

/// Generous: the machine may be busy.
const TIMEOUT: Duration = Duration::from_secs(30);

/// The credentials of a client.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Credentials {
    pub(crate) authority: Vec<u8>,
    pub(crate) certificate: Vec<u8>,
    pub(crate) key: Vec<u8>,
}

impl Credentials {
    /// The credentials of the chart's client.
    pub(crate) async fn of_client(kubernetes: &Client) -> Result<Self> {
        Self::read(kubernetes, "client-tls").await
    }

    /// Reads the release's Secret with this suffix.
    pub(crate) async fn read(kubernetes: &Client, suffix: &str) -> Result<Self> {
        let name = format!("{NAME}-{suffix}");
        let secret = Api::<Secret>::namespaced(kubernetes.clone(), NAME).get(&name).await?;
        let data = secret.data.unwrap_or_default();
        let field = |key: &str| {
            data.get(key).map(|bytes| bytes.0.clone()).with_context(|| format!("Secret {name} has no {key}"))
        };
        Ok(Self { authority: field("ca.crt")?, certificate: field("tls.crt")?, key: field("tls.key")? })
    }

    /// Writes the files that the README uses: `ca/ca.crt`, `client/client.crt`, `client/client.key`.
    pub(crate) fn write(&self, folder: &Path) -> Result<()> {
        for (file, text) in [
            ("ca/ca.crt", &self.authority),
            ("client/client.crt", &self.certificate),
            ("client/client.key", &self.key),
        ] {
            let path = folder.join(file);
            fs::create_dir_all(path.parent().context("a file is in a folder")?)?;
            fs::write(path, text)?;
        }
        Ok(())
    }

    /// The endpoint of the server for a client with these credentials.
    pub(crate) fn endpoint(&self, address: SocketAddr) -> Result<Endpoint> {
        let credentials =
            replica_count_client::Credentials::from_pem(&self.authority, &self.certificate, &self.key)?;
        let endpoint = Endpoint::new(&address.into(), &credentials, Some(SERVER_NAME))?;
        Ok(endpoint.with_timeout(TIMEOUT))
    }
}
