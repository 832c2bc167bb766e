//! Benchmarks: the real server against a real API server, compared with the physical limit of each figure.
//!
//! A benchmark is not a test: a missed target only shows in the table, and the exit code is 1 only if a measurement
//! failed.

mod arguments;
mod attempts;
mod cli;
mod contestant;
mod cpu_time;
mod crd;
mod curl;
mod drain;
mod drift;
mod etcd;
mod fight;
mod fleet;
mod gone;
mod guard;
mod idle;
mod kubeconfig;
mod last;
mod latencies;
mod load;
mod machine;
mod mass;
mod memory;
mod output;
mod peer;
mod plot;
mod pods;
mod policies;
mod progress;
mod requests;
mod resident;
mod restart;
mod results;
mod run;
mod sample;
mod server;
mod sets;
mod start;
mod table;
mod tell;
mod unrelated;

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
