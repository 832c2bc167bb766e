//! The command line of `acceptance`.

use std::path::PathBuf;

use clap::Parser;
use clap::builder::PossibleValuesParser;

use crate::helm::Version;
use crate::image::Image;
use crate::steps;

/// Shows on running pods what the documents promise, and prints it as a table.
///
/// Works on the cluster of --kubeconfig, in the namespaces replica-count-manager, replica-count-manager-runners and
/// acceptance, which must not exist. The images must be where the nodes find them.
#[derive(Debug, Parser)]
#[command(version)]
pub(crate) struct Arguments {
    /// The cluster. The KUBECONFIG of the environment is never used.
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: PathBuf,
    /// The image of the server: NAME:TAG or NAME@sha256:DIGEST.
    #[arg(long, value_name = "IMAGE")]
    pub(crate) image: Image,
    /// Another image of the server, for upgrades. By digest: the step `pipeline` needs one.
    #[arg(long, value_name = "IMAGE")]
    pub(crate) next_image: Image,
    /// An image with busybox in it, for the pods that are managed.
    #[arg(long, value_name = "NAME:TAG", default_value = "localhost/busybox:1")]
    pub(crate) busybox: Image,
    /// The image of podinfo, the chart of a third party [default: the one that its chart names].
    #[arg(long, value_name = "NAME:TAG")]
    pub(crate) podinfo: Option<Image>,
    /// The folder of the chart of podinfo.
    #[arg(long, value_name = "FOLDER")]
    pub(crate) podinfo_chart: PathBuf,
    /// With which versions of Helm, one after the other.
    #[arg(long, value_delimiter = ',', default_value = "helm3,helm4")]
    pub(crate) helm: Vec<Version>,
    /// Values for the chart, for clusters that need some.
    #[arg(long, value_name = "FILE")]
    pub(crate) values: Option<PathBuf>,
    /// Audit logs of the API server: of this run, and of earlier ones that belong to it.
    #[arg(long, value_name = "FILE")]
    pub(crate) audit_log: Vec<PathBuf>,
    /// This process is in the network of the only node: addresses of Services are reachable, connections of pods are seen.
    #[arg(long)]
    pub(crate) on_node: bool,
    /// Only these steps, after the installation.
    #[arg(long, value_name = "STEP", value_delimiter = ',', value_parser = PossibleValuesParser::new(steps::names()))]
    pub(crate) only: Vec<String>,
    /// Also write the table as JSON.
    #[arg(long, value_name = "FILE")]
    pub(crate) json: Option<PathBuf>,
}
