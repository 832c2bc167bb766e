//! The command line and the exit status.

use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::certs::CertsArgs;
use crate::commands::get::GetArgs;
use crate::failure::Failure;
use crate::output::print;
use crate::ui::UiArgs;

const AFTER_HELP: &str = "\
Examples:
  What is managed in the namespace of the context:
    kubectl replicas get
  A CA, a server pair and a client pair for development, in ./certificates:
    kubectl replicas certs
  Completion in the current bash:
    source <(kubectl-replicas completion bash)

Exit status: 0 when it succeeds, 1 when it fails, 2 when the command line is not valid.";

/// The command line of Replica Count Manager
#[derive(Debug, Parser)]
#[command(name = "kubectl-replicas", version, after_help = AFTER_HELP)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Get(GetArgs),
    Ui(UiArgs),
    /// Make certificates for development
    Certs(CertsArgs),
    /// Print a script that completes this command line in your shell
    Completion {
        /// The shell
        shell: clap_complete::Shell,
    },
}

/// Parses and runs the command line. An invalid command line ends the process with status 2.
pub fn run() -> ExitCode {
    match Cli::parse().command.run() {
        Ok(status) => status,
        Err(failure) => {
            print::note(&format!("error: {failure}"));
            failure.status()
        }
    }
}

impl Command {
    fn run(self) -> Result<ExitCode, Failure> {
        match self {
            Self::Get(args) => block_on(args.run()),
            Self::Ui(args) => block_on(args.run()),
            Self::Certs(args) => {
                args.run().map(|()| ExitCode::SUCCESS).map_err(|error| Failure::new(error.to_string()))
            }
            Self::Completion { shell } => {
                let mut command = Cli::command();
                let name = command.get_name().to_owned();
                let mut script = Vec::new();
                clap_complete::generate(shell, &mut command, name, &mut script);
                print::out(&String::from_utf8_lossy(&script)).map(|()| ExitCode::SUCCESS)
            }
        }
    }
}

/// Runs a command that calls a server. One thread is enough for it.
fn block_on(command: impl Future<Output = Result<(), Failure>>) -> Result<ExitCode, Failure> {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let runtime = runtime.map_err(|error| Failure::new(format!("the runtime cannot start: {error}")))?;
    runtime.block_on(command).map(|()| ExitCode::SUCCESS)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_valid() {
        Cli::command().debug_assert();
    }
}
