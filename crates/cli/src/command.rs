//! The command line and the exit status.

use std::env;
use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;

use clap::{CommandFactory as _, Parser, Subcommand};

use crate::certs::CertsArgs;
use crate::commands::apply::ApplyArgs;
use crate::commands::completion::CompletionArgs;
use crate::commands::delete::DeleteArgs;
use crate::commands::diff::DiffArgs;
use crate::commands::enforcement::{EnforceArgs, IgnoreArgs};
use crate::commands::export::ExportArgs;
use crate::commands::get::GetArgs;
use crate::commands::handover::HandoverArgs;
use crate::commands::login::LoginArgs;
use crate::commands::pin::PinArgs;
use crate::commands::set::SetArgs;
use crate::commands::status::StatusArgs;
use crate::commands::undo::UndoArgs;
use crate::commands::version::VersionArgs;
use crate::commands::watch::WatchArgs;
use crate::commands::who::WhoArgs;
use crate::complete;
use crate::failure::Failure;
use crate::output::print;
use crate::ui::UiArgs;

/// The name by which kubectl finds the completion of the plugin.
const COMPLETE: &str = "kubectl_complete-replicas";
/// The name by which kubectl finds `kubectl create replicacount`.
const CREATE: &str = "kubectl-create-replicacount";

const AFTER_HELP: &str = "\
Examples:
  What is managed in the namespace of the context:
    kubectl replicas get
  web must have 10 replicas from now on:
    kubectl replicas set web 10 --reason 'spring sale'
  Who changed the count of web:
    kubectl replicas who web

Flags come after the command: kubectl replicas get -n shop. Use -h with a command for its flags, and \
--help for those of the connection, too.

Exit status: 0 when it succeeds, 1 when it fails, 2 when the command line is not valid.";

/// Manage the replica counts of workloads
#[derive(Debug, Parser)]
#[command(name = "kubectl-replicas", bin_name = "kubectl replicas", version, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Get(GetArgs),
    Set(SetArgs),
    Delete(DeleteArgs),
    Ignore(IgnoreArgs),
    Enforce(EnforceArgs),
    Who(WhoArgs),
    Watch(WatchArgs),
    Diff(DiffArgs),
    Pin(PinArgs),
    Undo(UndoArgs),
    Handover(HandoverArgs),
    Apply(ApplyArgs),
    Export(ExportArgs),
    Status(StatusArgs),
    Login(LoginArgs),
    Ui(UiArgs),
    Version(VersionArgs),
    /// Make certificates for development
    Certs(CertsArgs),
    Completion(CompletionArgs),
    /// Print candidates for the last word, for kubectl
    #[command(name = "__complete", hide = true)]
    Complete {
        #[arg(trailing_var_arg = true, allow_hyphen_values = true)]
        words: Vec<String>,
    },
}

/// `kubectl create replicacount`.
#[derive(Debug, Parser)]
#[command(name = CREATE, bin_name = "kubectl create replicacount", version)]
struct Create {
    #[command(flatten)]
    set: SetArgs,
}

/// Parses and runs the command line. An invalid command line ends the process with status 2.
pub fn run() -> ExitCode {
    match run_as(&called()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            if !failure.message().is_empty() {
                print::note(&format!("error: {failure}"));
            }
            failure.status()
        }
    }
}

/// The command line as a value.
pub fn cli() -> clap::Command {
    Cli::command()
}

/// The name by which this program was called.
fn called() -> String {
    let path = env::args_os().next().unwrap_or_default();
    let name = Path::new(&path).file_stem().map(OsString::from).unwrap_or_default();
    name.to_string_lossy().into_owned()
}

fn run_as(name: &str) -> Result<(), Failure> {
    match name {
        COMPLETE => {
            let words: Vec<_> =
                env::args_os().skip(1).map(|word| word.to_string_lossy().into_owned()).collect();
            block_on(complete::run(&cli(), &words))
        }
        CREATE => block_on(Create::parse().set.create()),
        _ => Cli::parse().command.run(),
    }
}

impl Command {
    fn run(self) -> Result<(), Failure> {
        match self {
            Self::Get(args) => block_on(args.run()),
            Self::Set(args) => block_on(args.run()),
            Self::Delete(args) => block_on(args.run()),
            Self::Ignore(args) => block_on(args.run()),
            Self::Enforce(args) => block_on(args.run()),
            Self::Who(args) => block_on(args.run()),
            Self::Watch(args) => block_on(args.run()),
            Self::Diff(args) => block_on(args.run()),
            Self::Pin(args) => block_on(args.run()),
            Self::Undo(args) => block_on(args.run()),
            Self::Handover(args) => block_on(args.run()),
            Self::Apply(args) => block_on(args.run()),
            Self::Export(args) => block_on(args.run()),
            Self::Status(args) => block_on(args.run()),
            Self::Login(args) => block_on(args.run()),
            Self::Ui(args) => block_on(args.run()),
            Self::Version(args) => block_on(args.run()),
            Self::Certs(args) => args.run().map_err(|error| Failure::new(error.to_string())),
            Self::Completion(args) => args.run(cli()),
            Self::Complete { words } => block_on(complete::run(&cli(), &words)),
        }
    }
}

/// Runs a command that calls a server. One thread is enough for it.
fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<(), Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format!("the runtime cannot start: {error}")))?;
    runtime.block_on(command)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_valid() {
        Cli::command().debug_assert();
        Create::command().debug_assert();
    }
}
