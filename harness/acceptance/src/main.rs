//! `acceptance`: installs the chart on a cluster that exists, does what users and accidents do to it, and shows what
//! became of it in a table. What it made is removed at the end.

mod access;
mod application;
mod arguments;
mod audit;
mod certificates;
mod connections;
mod eventually;
mod evidence;
mod helm;
mod image;
mod ledger;
mod load;
mod output;
mod paste;
mod pods;
mod programs;
mod repository;
mod runner;
mod session;
mod stage;
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
