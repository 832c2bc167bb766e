//! The flags that say which cluster, for every command that talks to one.

use std::path::PathBuf;

use clap::Args;

use super::values::{OneOrAll, namespace_or_all};

/// The cluster.
#[derive(Debug, Args)]
#[command(next_help_heading = "Kubernetes")]
pub struct KubernetesArgs {
    /// Kubeconfig file [default: $KUBECONFIG, ~/.kube/config, or the service account of the pod]
    #[arg(long, value_name = "FILE")]
    pub kubeconfig: Option<PathBuf>,
    /// Context of the kubeconfig [default: its current context]
    #[arg(long, env = "KUBE_CONTEXT", value_name = "NAME")]
    pub context: Option<String>,
    /// Manage this namespace only; needs no rights in others [default: all namespaces]
    #[arg(long, env, value_name = "NAMESPACE", value_parser = namespace_or_all, default_value = "", hide_default_value = true)]
    pub namespace: OneOrAll,
}
