//! `testbed`: a local control plane for development, demos and tests.

mod arguments;
mod commands;
mod output;

use std::process::ExitCode;

use arguments::Arguments;
use clap::Parser as _;

fn main() -> ExitCode {
    match commands::run(Arguments::parse()) {
        Ok(code) => code,
        Err(error) => {
            output::say_error(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
