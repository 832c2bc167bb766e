//! Kubeconfig files, for the programs of Kubernetes and for our own clients.

use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};
use rustls::pki_types::CertificateDer;
use rustls::pki_types::pem::PemObject as _;
use serde_json::json;

use super::authority::{CertificateFiles, write_secret};

/// The name of the cluster, user and context; each file has only one of each.
const NAME: &str = "testbed";

/// How long a client waits for a connection.
const CONNECT_TIMEOUT: Duration = Duration::from_secs(5);

/// How to reach an API server.
#[derive(Clone, Debug)]
pub(super) struct Endpoint {
    pub(super) url: String,
    pub(super) certificate_authority: PathBuf,
}

/// How a client authenticates.
#[derive(Clone, Debug)]
pub(super) enum Credentials {
    Certificate(CertificateFiles),
    Token(String),
}

/// Writes a kubeconfig; JSON is YAML.
pub(super) fn write(path: &Path, endpoint: &Endpoint, credentials: &Credentials) -> Result<()> {
    let user = match credentials {
        Credentials::Certificate(files) => {
            json!({ "client-certificate": files.certificate, "client-key": files.key })
        }
        Credentials::Token(token) => json!({ "token": token }),
    };
    let cluster = json!({ "server": endpoint.url, "certificate-authority": endpoint.certificate_authority });
    let kubeconfig = json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": NAME, "cluster": cluster }],
        "users": [{ "name": NAME, "user": user }],
        "contexts": [{ "name": NAME, "context": { "cluster": NAME, "user": NAME } }],
        "current-context": NAME,
    });
    write_secret(path, &format!("{kubeconfig:#}\n"))
}

/// A client that uses the kubeconfig at `path`.
pub(super) async fn client(path: &Path) -> Result<Client> {
    let kubeconfig =
        Kubeconfig::read_from(path).with_context(|| format!("cannot read {}", path.display()))?;
    configured(Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?)
}

/// A client without credentials.
pub(super) fn anonymous_client(endpoint: &Endpoint) -> Result<Client> {
    let authority = CertificateDer::from_pem_file(&endpoint.certificate_authority)?;
    let mut config = Config::new(endpoint.url.parse()?);
    config.root_cert = Some(vec![authority.to_vec()]);
    configured(config)
}

fn configured(mut config: Config) -> Result<Client> {
    config.connect_timeout = Some(CONNECT_TIMEOUT);
    // Tests need the server's own answers.
    config.default_retry = false;
    Ok(Client::try_from(config)?)
}
