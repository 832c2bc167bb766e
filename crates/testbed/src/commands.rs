//! What each subcommand does.

mod build;
mod up;

use anyhow::{Context as _, Result};
use tokio::runtime::Runtime;

use crate::arguments::{Arguments, Command};
use replica_count_testbed::tether;

/// Runs the subcommand that was asked for.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    match arguments.command {
        Command::Build { programs } => build::run(&programs),
        Command::Up => runtime()?.block_on(up::run()),
        // Without a runtime: it becomes another program.
        Command::Tether { parent, program } => tether::exec(parent, &program),
    }
}

fn runtime() -> Result<Runtime> {
    Runtime::new().context("cannot start the runtime")
}
