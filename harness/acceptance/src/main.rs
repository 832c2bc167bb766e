//! `acceptance`: installs the chart on an existing cluster, exercises it with user actions and failures, and prints the
//! results as a table. Removes everything it created at the end.

mod access;
mod application;
mod arguments;
mod audit;
mod certificates;
mod connections;
mod diagnostics;
mod eventually;
mod fixture;
mod helm;
mod image;
mod ledger;
mod load;
mod output;
mod pods;
mod programs;
mod reader;
mod repository;
mod runner;
mod session;
mod shell;
mod steps;
mod table;
mod trivial;

use std::process::ExitCode;

use arguments::Arguments;
use clap::Parser as _;

fn main() -> ExitCode {
    match runner::run(&Arguments::parse()) {
        Ok(runner::Verdict::Passed) => ExitCode::SUCCESS,
        Ok(runner::Verdict::Failed) => ExitCode::FAILURE,
        Err(error) => {
            output::say(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}
