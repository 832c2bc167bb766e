//! The command line and the exit status.

use std::io::{self, Write};
use std::process::ExitCode;

use clap::{CommandFactory, Parser, Subcommand};

use crate::certs::CertsArgs;

const AFTER_HELP: &str = "\
Examples:
  A CA, a server pair and a client pair for development, in ./certificates:
    kubectl-replicas certs
  A client pair for another user, signed by the same CA:
    kubectl-replicas certs client --name alice --group ops
  Completion in the current bash:
    source <(kubectl-replicas completion bash)

On your PATH, kubectl finds it as a plugin: kubectl replicas certs.

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
    match Cli::parse().command {
        Command::Certs(args) => match args.run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) => fail(&error.to_string()),
        },
        Command::Completion { shell } => {
            let mut command = Cli::command();
            let name = command.get_name().to_owned();
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, name, &mut script);
            match io::stdout().write_all(&script) {
                Ok(()) => ExitCode::SUCCESS,
                Err(error) => fail(&format!("standard output is not writable: {error}")),
            }
        }
    }
}

/// Reports a failure in one line. The status holds even if nobody can read the line.
fn fail(reason: &str) -> ExitCode {
    let _ = writeln!(io::stderr(), "error: {reason}");
    ExitCode::FAILURE
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_command_line_is_valid() {
        Cli::command().debug_assert();
    }
}
