//! The subcommands.

mod build;
mod demo;
mod node;
mod page;
mod run;
mod up;

use std::env;
use std::path::PathBuf;
use std::process::ExitCode;

use anyhow::{Context as _, Result, bail};
use replica_count_testbed::node::{namespaces, sweep};
use replica_count_testbed::parent_death;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};

use crate::arguments::{Arguments, Command};

/// Runs the requested subcommand.
pub(crate) fn run(arguments: Arguments) -> Result<ExitCode> {
    let success = |()| ExitCode::SUCCESS;
    match arguments.command {
        Command::Build { programs } => build::run(&programs).map(success),
        Command::Up => until_stopped(up::run(this_program()?)).map(drop).map(success),
        Command::Run(arguments) => until_stopped(run::run(this_program()?, arguments)).map(drop).map(success),
        Command::Demo => match until_stopped(demo::run(this_program()?))? {
            Ended::Finished => Ok(ExitCode::SUCCESS),
            Ended::Stopped => bail!("interrupted"),
        },
        Command::Page(arguments) => {
            until_stopped(page::run(this_program()?, arguments)).map(drop).map(success)
        }
        Command::Node(arguments) => node::run(&this_program()?, &arguments),
        Command::NodeInside(arguments) => node::run_inside(&this_program()?, arguments),
        Command::NodeInit { program } => namespaces::init(&program),
        Command::NodeSweep { folder } => Runtime::new()?.block_on(sweep(&folder)).map(success),
        // No runtime: this process becomes another program.
        Command::ParentDeathGuard { parent, program } => parent_death::exec(parent, &program).map(success),
    }
}

/// How a subcommand ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Ended {
    Finished,
    /// By Ctrl-C or SIGTERM.
    Stopped,
}

/// Runs a subcommand until it ends or Ctrl-C or SIGTERM arrives. Then drops it and everything it started.
fn until_stopped(subcommand: impl Future<Output = Result<()>>) -> Result<Ended> {
    let runtime = Runtime::new().context("cannot start the runtime")?;
    let ended = runtime.block_on(async {
        let stopped = stopped()?;
        tokio::select! {
            result = subcommand => result.map(|()| Ended::Finished),
            () = stopped => Ok(Ended::Stopped),
        }
    });
    // Does not wait for a build that still runs in a thread.
    runtime.shutdown_background();
    ended
}

/// Completes on Ctrl-C or SIGTERM. After this call, they no longer end the process.
fn stopped() -> Result<impl Future<Output = ()>> {
    let mut interrupt = signal(SignalKind::interrupt())?;
    let mut terminate = signal(SignalKind::terminate())?;
    Ok(async move {
        tokio::select! {
            _ = interrupt.recv() => {}
            _ = terminate.recv() => {}
        }
    })
}

fn this_program() -> Result<PathBuf> {
    env::current_exe().context("the path of this program is unknown")
}
