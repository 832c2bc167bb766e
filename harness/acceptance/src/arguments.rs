//! The command line of `acceptance`.

use std::path::PathBuf;

use clap::Parser;
use clap::builder::PossibleValuesParser;

use crate::helm::Version;
use crate::image::Image;
use crate::steps;

/// Verifies the promises of the documentation on running pods, and prints a table.
///
/// Runs on the cluster of --kubeconfig, in the namespaces replica-count-manager, replica-count-manager-runners and
/// acceptance, which must not exist yet. The nodes must be able to pull the images, or have them already.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Arguments {
    /// The cluster. The KUBECONFIG environment variable is ignored.
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: PathBuf,
    /// The server's image: NAME:TAG or NAME@sha256:DIGEST.
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Image,
    /// Another image of the server, for upgrades. The step `pipeline` needs it by digest.
    #[arg(long, value_name = "IMAGE")]
    pub(crate) next_image: Image,
    /// An image with busybox, for the managed pods.
    #[arg(long, value_name = "NAME:TAG", default_value = "localhost/busybox:1")]
    pub(crate) busybox: Image,
    /// The image of podinfo, a third-party application [default: that of its chart].
    #[arg(long, value_name = "NAME:TAG")]
    pub(crate) podinfo: Option<Image>,
    /// The folder of podinfo's chart.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) podinfo_chart: PathBuf,
    /// The versions of Helm to test, one after the other.
    #[arg(long, value_delimiter = ',', default_value = "helm3,helm4")]
    pub(crate) helm: Vec<Version>,
    /// Additional values for the chart, for clusters that need them.
    #[arg(long, value_name = "FILE")]
    pub(crate) values: Option<PathBuf>,
    /// Audit logs of the API server: of this run, and of earlier runs to include.
    #[arg(long, value_name = "FILE")]
    pub(crate) audit_log: Vec<PathBuf>,
    /// This process is in the network of the only node, so it can reach Services and trace the pods' connections.
    #[arg(long)]
    pub(crate) on_node: bool,
    /// Run only these steps, after the installation.
    #[arg(long, value_name = "STEP", value_delimiter = ',', value_parser = PossibleValuesParser::new(steps::names()))]
    pub(crate) only: Vec<String>,
    /// Also write the table as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}
