//! `faults`: tests the server's promises with injected faults.

mod arguments;

use std::process::ExitCode;

use anyhow::{Context as _, Result};
use arguments::{Arguments, Command};
use clap::Parser as _;
use replica_count_faults::environment::Environment;
use replica_count_faults::{all, handover, mutants, output, run};
use tokio::runtime::Runtime;

fn main() -> ExitCode {
    match run(Arguments::parse()) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            output::say_error(&format!("error: {error:#}"));
            ExitCode::FAILURE
        }
    }
}

fn run(arguments: Arguments) -> Result<()> {
    let runtime = Runtime::new().context("cannot start the runtime")?;
    runtime.block_on(async {
        match arguments.command {
            Command::Run { replay: Some(trace), .. } => {
                run::replay(&Environment::start().await?, &trace).await
            }
            Command::Run { seed, minutes, replay: None } => {
                let seed = chosen(seed);
                run::run_for(&Environment::start().await?, seed, minutes).await
            }
            Command::Soak { seed, minutes } => {
                let seed = chosen(seed);
                run::soak(&Environment::start().await?, seed, minutes).await
            }
            Command::All { only } => all::run(&Environment::start().await?, only.as_deref()).await,
            Command::Handover { rounds } => handover::run(rounds).await,
            Command::Mutants { only } => mutants::run(&only),
        }
    })
}

/// The given seed or a new one, which is printed.
fn chosen(seed: Option<u64>) -> u64 {
    let seed = seed.unwrap_or_else(|| fastrand::u64(..));
    output::say(&format!("seed {seed}"));
    seed
}
