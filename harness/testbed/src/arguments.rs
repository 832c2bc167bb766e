//! The command line of `testbed`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use replica_count_testbed::cluster::Program;
use replica_count_testbed::node::{SWEEP, namespaces};

/// A local Kubernetes control plane for development, demos and tests of Replica Count Manager.
#[derive(Debug, Parser)]
#[command(version, after_help = ENVIRONMENT)]
pub(crate) struct Arguments {
    #[command(subcommand)]
    pub(crate) command: Command,
}

const ENVIRONMENT: &str = "\
Environment:
  KUBERNETES          The minor of Kubernetes to build and run: a folder of cluster/ (default 1.36)
  KUBEBUILDER_ASSETS  A folder with etcd and kube-apiserver, to use instead of building them
  XDG_CACHE_HOME      Built programs are kept in replica-count-manager/ below it (default ~/.cache)";

const IMAGES: &str = "\
Images:
  Nothing is pulled. There is localhost/busybox:1, and what COMMAND loads. From the archive that make image writes:
    ctr images import ARCHIVE
    ctr images tag NAME:TAG docker.io/library/NAME:TAG
  To use it by its digest:
    ctr images import --base-name docker.io/library/NAME --digests ARCHIVE

Example:
  testbed node -- kubectl run --attach --image localhost/busybox:1 hello -- echo hello";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build the programs of the cluster and print where they are.
    ///
    /// Each is built once, from the sources that cluster/ pins, and kept in a cache outside the project. The first build
    /// downloads sources and takes minutes; nothing is built when the cache has it.
    Build {
        /// These programs [default: those of a control plane and its clients].
        #[arg(long = "what", value_name = "PROGRAM", value_delimiter = ',', value_parser = parse_program)]
        programs: Vec<Program>,
    },
    /// Start a control plane, print its kubeconfig, and keep it running until Ctrl-C.
    Up,
    /// Run the server on a control plane of its own, or on a cluster of yours, until Ctrl-C.
    ///
    /// Without --kubeconfig: starts a control plane, creates a sample Deployment and has the server manage it, and prints
    /// lines to paste that look at it and change it behind the server's back.
    ///
    /// With --kubeconfig: says which cluster that is, and runs the server on it. Nothing is created there.
    ///
    /// Certificates are kept in certificates/ and stored counts in dev/, below the project's root.
    Run(Run),
    /// Play the whole story against a real API server, a line per step, and fail if a step does not happen.
    ///
    /// A count is set; someone scales the Deployment; a Helm-like upgrade resets it; the server is restarted while it is
    /// changed again; the setting is deleted. Everything runs on loopback in a temporary folder.
    Demo,
    /// Run a command on a real node, or keep a node until Ctrl-C. Needs root.
    ///
    /// Starts a control plane, kubelet, containerd, kube-proxy and CoreDNS in network, mount and pid namespaces, waits
    /// until the node is ready, and runs COMMAND in there. When that ends, the node is gone without a trace, and the exit
    /// status is that of COMMAND. Without COMMAND, a line to paste is printed that leads in.
    ///
    /// COMMAND runs in the present folder, with the kubeconfig of an administrator in KUBECONFIG, and what ctr needs in
    /// CONTAINERD_ADDRESS and CONTAINERD_NAMESPACE. It sees the files of this machine, but /run is empty, and what it
    /// writes to /run, /var/lib and /var/log is lost. There is no network but that of the node, where Services have
    /// addresses and names, such as my-app.my-namespace.svc.cluster.local.
    ///
    /// The default StorageClass makes volumes that honour fsGroup, as those of a cloud. NetworkPolicies are stored, but not
    /// enforced.
    #[command(after_long_help = IMAGES)]
    Node(Node),
    /// The node, in its namespaces. Used by the testbed itself.
    #[command(name = NODE_INSIDE, hide = true)]
    NodeInside(NodeInside),
    /// The first process in the namespaces of a node. Used by the testbed itself.
    #[command(name = namespaces::INIT, hide = true)]
    NodeInit {
        /// The program and its arguments.
        #[arg(last = true, required = true)]
        program: Vec<OsString>,
    },
    /// Wait for the end of a node and remove what is left of it. Used by the testbed itself.
    #[command(name = SWEEP, hide = true)]
    NodeSweep {
        /// The folder of the node.
        folder: PathBuf,
    },
    /// Run a program that is killed when this process dies. Used by the testbed itself.
    #[command(name = replica_count_testbed::parent_death::SUBCOMMAND, hide = true)]
    ParentDeathGuard {
        /// The process id of the parent.
        #[arg(long)]
        parent: u32,
        /// The program and its arguments.
        #[arg(last = true, required = true)]
        program: Vec<OsString>,
    },
}

/// The hidden subcommand that runs in the namespaces of a node.
pub(crate) const NODE_INSIDE: &str = "node-inside";

/// What is done with a node.
#[derive(Debug, Args)]
pub(crate) struct Node {
    /// Have the API server write every request to this file, a JSON object a line, without bodies.
    #[arg(long, value_name = "FILE")]
    pub(crate) audit_log: Option<PathBuf>,
    /// Give the API server a further flag, for example --feature-gates=WatchList=false.
    #[arg(long = "api-server-arg", value_name = "FLAG", allow_hyphen_values = true)]
    pub(crate) api_server_arguments: Vec<String>,
    /// Only say whether this machine can have a node, and what is missing.
    #[arg(long, exclusive = true)]
    pub(crate) check: bool,
    /// The command and its arguments.
    #[arg(last = true)]
    pub(crate) command: Vec<OsString>,
}

/// The same, with what was prepared for it.
#[derive(Debug, Args)]
pub(crate) struct NodeInside {
    /// The folder of the node, to mount its memory on.
    #[arg(long)]
    pub(crate) folder: PathBuf,
    #[command(flatten)]
    pub(crate) node: Node,
}

/// Which cluster the server runs on.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Run on the cluster of this kubeconfig. The KUBECONFIG of the environment is never used.
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Use this context of the kubeconfig [default: its current one].
    #[arg(long, value_name = "NAME", requires = "kubeconfig")]
    pub(crate) context: Option<String>,
}

fn parse_program(name: &str) -> Result<Program, String> {
    let names = || Program::all().map(Program::name).collect::<Vec<_>>().join(", ");
    Program::from_name(name).ok_or_else(|| format!("there is {}", names()))
}
