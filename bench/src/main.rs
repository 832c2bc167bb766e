//! Benchmarks: the real server against a real API server, beside the physical limit of each figure.
//!
//! A benchmark is not a test: a target that is missed is shown in the table, and only a measurement that failed makes
//! the exit code one.

mod arguments;
mod drift;
mod fight;
mod fleet;
mod kubeconfig;
mod latencies;
mod machine;
mod mass;
mod memory;
mod output;
mod peer;
mod progress;
mod results;
mod run;
mod sample;
mod server;
mod table;

use std::process::ExitCode;

use arguments::Arguments;
use clap::Parser as _;

fn main() -> ExitCode {
    match run::run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::say_error(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
