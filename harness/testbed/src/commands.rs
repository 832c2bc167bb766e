//! What each subcommand does.

mod build;
mod demo;
mod node;
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

/// Runs the subcommand that was asked for.
pub(crate) fn run(arguments: Arguments) -> Result<ExitCode> {
    let success = |()| ExitCode::SUCCESS;
    match arguments.command {
        Command::Build { programs } => build::run(&programs).map(success),
        Command::Up => until_stopped(up::run(this_program()?)).map(drop).map(success),
        Command::Run(arguments) => until_stopped(run::run(this_program()?, arguments)).map(drop).map(success),
        Command::Demo => match until_stopped(demo::run(this_program()?))? {
            Ended::ByItself => Ok(ExitCode::SUCCESS),
            Ended::Stopped => bail!("interrupted"),
        },
        Command::Node(arguments) => node::run(&this_program()?, &arguments),
        Command::NodeInside(arguments) => node::run_inside(&this_program()?, arguments),
        Command::NodeInit { program } => namespaces::init(&program),
        Command::NodeSweep { folder } => Runtime::new()?.block_on(sweep(&folder)).map(success),
        // Without a runtime: it becomes another program.
        Command::ParentDeathGuard { parent, program } => parent_death::exec(parent, &program).map(success),
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
        let stopped = stopped()?;
        tokio::select! {
            result = subcommand => result.map(|()| Ended::ByItself),
            () = stopped => Ok(Ended::Stopped),
        }
    });
    // A build that goes on in a thread is not waited for.
    runtime.shutdown_background();
    ended
}

/// Completes on Ctrl-C or SIGTERM. From this call on, they do not end the process.
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
