//! The binary: installs the crypto provider, then parses and runs the command line.

use std::process::ExitCode;

fn main() -> ExitCode {
    // The first call in a process always succeeds.
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    replica_count_cli::command::run()
}
