//! Kubernetes clients for the current process and runtime.

use std::path::Path;

use anyhow::{Context as _, Result};
use kube::config::{KubeConfigOptions, Kubeconfig};
use kube::{Client, Config};

/// A client without retries, because retried requests would distort measurements.
pub(crate) async fn client(path: &Path) -> Result<Client> {
    let kubeconfig =
        Kubeconfig::read_from(path).with_context(|| format!("cannot read {}", path.display()))?;
    let mut config = Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await?;
    config.default_retry = false;
    // A watch is silent while nothing drifts.
    config.read_timeout = None;
    Ok(Client::try_from(config)?)
}
