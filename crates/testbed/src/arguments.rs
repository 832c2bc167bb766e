//! The command line of `testbed`.

use std::ffi::OsString;
use std::path::PathBuf;

use clap::{Args, Parser, Subcommand};
use replica_count_testbed::cluster::Program;

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

#[derive(Debug, Subcommand)]
pub(crate) enum Command {
    /// Build the programs of the cluster and print where they are.
    ///
    /// Each is built once, from the sources that cluster/ pins, and kept in a cache outside the project. The first build
    /// downloads sources and takes minutes; nothing is built when the cache has it.
    Build {
        /// Only these programs [default: all].
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
    /// Run a program that is killed when this process dies. Used by the testbed itself.
    #[command(name = replica_count_testbed::tether::SUBCOMMAND, hide = true)]
    Tether {
        /// The process id of the parent.
        #[arg(long)]
        parent: u32,
        /// The program and its arguments.
        #[arg(last = true, required = true)]
        program: Vec<OsString>,
    },
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
    let names = || Program::ALL.map(Program::name).join(", ");
    Program::from_name(name).ok_or_else(|| format!("there is {}", names()))
}
