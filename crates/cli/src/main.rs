//! The binary: parses, runs.

use std::process::ExitCode;

fn main() -> ExitCode {
    replica_count_cli::command::run()
}
