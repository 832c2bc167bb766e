//! The binary: parses and runs the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    replica_count_cli::command::run()
}
