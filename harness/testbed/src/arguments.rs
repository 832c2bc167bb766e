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
  Nothing is pulled. The node has localhost/busybox:1 and whatever COMMAND imports. To import the archive of make image:
    ctr images import ARCHIVE
    ctr images tag NAME:TAG docker.io/library/NAME:TAG
  To use it by its digest:
    ctr images import --base-name docker.io/library/NAME --digests ARCHIVE

Example:
  testbed node -- kubectl run --attach --image localhost/busybox:1 hello -- echo hello";

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build the programs of the cluster and print their paths.
    ///
    /// Each is built once, from the sources that cluster/ pins, and cached outside the project. The first build
    /// downloads the sources and takes minutes. Cached programs are not built again.
    Build {
        /// The programs to build [default: a control plane and its clients].
        #[arg(long = "what", value_name = "PROGRAM", value_delimiter = ',', value_parser = parse_program)]
        programs: Vec<Program>,
    },
    /// Start a control plane, print its kubeconfig, and keep it running until Ctrl-C.
    Up,
    /// Run the server on a new control plane, or on your own cluster, until Ctrl-C.
    ///
    /// Without --kubeconfig: starts a control plane, creates a sample Deployment, has the server manage it, and prints
    /// commands to inspect it and to change it behind the server's back.
    ///
    /// With --kubeconfig: prints which cluster it is and runs the server on it. Nothing is created there.
    ///
    /// Certificates are kept in certificates/ and stored counts in dev/, below the project's root.
    Run(Run),
    /// Demonstrate the server on a real API server, a line per step. Fails if a step does not happen.
    ///
    /// Sets a count, scales the Deployment, resets it like a Helm upgrade, restarts the server while the count changes
    /// again, and deletes the setting. Everything runs on loopback in a temporary folder.
    Demo,
    /// Run the server and the page of `kubectl replicas ui`, driven by a test.
    ///
    /// Prints a line of JSON: the addresses of the pages of a user who may do everything, and of one who may do so in one
    /// namespace only; the path of kubectl; and an administrator's kubeconfig. A line `restart` on standard input restarts
    /// the server, and the end of standard input ends everything.
    Page(Page),
    /// Run a command on a real node, or keep a node running until Ctrl-C. Needs root.
    ///
    /// Starts a control plane, kubelet, containerd, kube-proxy and CoreDNS in network, mount and pid namespaces, waits
    /// until the node is ready, and runs COMMAND there. When COMMAND ends, the node is removed completely, and testbed
    /// exits with COMMAND's status. Without COMMAND, prints an nsenter command line that enters the node.
    ///
    /// COMMAND runs in the current folder, with an administrator's kubeconfig in KUBECONFIG, and CONTAINERD_ADDRESS and
    /// CONTAINERD_NAMESPACE set for ctr. It sees the files of this machine, but /run is empty, and writes to /run,
    /// /var/lib and /var/log are lost. The only network is the node's, where Services have addresses and names like
    /// my-app.my-namespace.svc.cluster.local.
    ///
    /// Volumes of the default StorageClass honour fsGroup, as in a cloud. NetworkPolicies are stored but not enforced.
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
    /// Wait for a node to end and remove its leftovers. Used by the testbed itself.
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

/// What the server of a page begins with.
#[derive(Debug, Args)]
pub(crate) struct Page {
    /// A settings file to begin with.
    #[arg(long, value_name = "FILE")]
    pub(crate) settings: Option<PathBuf>,
    /// A history to begin with.
    #[arg(long, value_name = "FILE")]
    pub(crate) history: Option<PathBuf>,
}

/// Options of a node.
#[derive(Debug, Args)]
pub(crate) struct Node {
    /// Have the API server log every request to this file, one JSON object per line, without bodies.
    #[arg(long, value_name = "FILE")]
    pub(crate) audit_log: Option<PathBuf>,
    /// Pass another flag to the API server, for example --feature-gates=WatchList=false.
    #[arg(long = "api-server-arg", value_name = "FLAG", allow_hyphen_values = true)]
    pub(crate) api_server_arguments: Vec<String>,
    /// Only check whether this machine can run a node, and print what is missing.
    #[arg(long, exclusive = true)]
    pub(crate) check: bool,
    /// The command and its arguments.
    #[arg(last = true)]
    pub(crate) command: Vec<OsString>,
}

/// Options of a node, inside its namespaces.
#[derive(Debug, Args)]
pub(crate) struct NodeInside {
    /// The folder of the node, where its tmpfs is mounted.
    #[arg(long)]
    pub(crate) folder: PathBuf,
    #[command(flatten)]
    pub(crate) node: Node,
}

/// Which cluster the server runs on.
#[derive(Debug, Args)]
pub(crate) struct Run {
    /// Run on the cluster of this kubeconfig. The KUBECONFIG environment variable is ignored.
    #[arg(long, value_name = "FILE")]
    pub(crate) kubeconfig: Option<PathBuf>,
    /// Use this context of the kubeconfig [default: its current one].
    #[arg(long, value_name = "NAME", requires = "kubeconfig")]
    pub(crate) context: Option<String>,
}

fn parse_program(name: &str) -> Result<Program, String> {
    let names = || Program::all().map(Program::name).collect::<Vec<_>>().join(", ");
    Program::from_name(name).ok_or_else(|| format!("unknown program, expected one of: {}", names()))
}
