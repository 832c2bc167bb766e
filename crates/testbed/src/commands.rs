//! What each subcommand does.

mod build;
mod demo;
mod run;
mod up;

use std::env;
use std::path::PathBuf;

use anyhow::{Context as _, Result, bail};
use replica_count_testbed::tether;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::{Arguments, Command};

/// Runs the subcommand that was asked for.
pub(crate) fn run(arguments: Arguments) -> Result<()> {
    match arguments.command {
        Command::Build { programs } => build::run(&programs),
        Command::Up => until_stopped(up::run(this_program()?)).map(drop),
        Command::Run(arguments) => until_stopped(run::run(this_program()?, arguments)).map(drop),
        Command::Demo => match until_stopped(demo::run(this_program()?))? {
            Ended::ByItself => Ok(()),
            Ended::Stopped => bail!("interrupted"),
        },
        // Without a runtime: it becomes another program.
        Command::Tether { parent, program } => tether::exec(parent, &program),
    }
}

/// How a subcommand ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    ByItself,
    /// By Ctrl-C or SIGTERM.
    Stopped,
}

/// Runs a subcommand to its end, or until Ctrl-C or SIGTERM. Then it is dropped, and what it started with it.
fn until_stopped(subcommand: impl Future<Output = Result<()>>) -> Result<Ended> {
    let runtime = Runtime::new().context("cannot start the runtime")?;
    let ended = runtime.block_on(async {
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        tokio::select! {
            result = subcommand => result.map(|()| Ended::ByItself),
            _ = interrupt.recv() => Ok(Ended::Stopped),
            _ = terminate.recv() => Ok(Ended::Stopped),
        }
    });
    // A build that goes on in a thread is not waited for.
    runtime.shutdown_background();
    ended
}

fn this_program() -> Result<PathBuf> {
    env::current_exe().context("the path of this program is unknown")
}
