//! What the command line asks for, done; and the exit status that says how it went.

use std::io;
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{Builder, Runtime};

use crate::server::args::{Cli, Command, ServeArgs, complaint};
use crate::server::log;
use crate::server::serve::{self, ServeError};

/// A flag, or a file that it names, is not usable (`EX_USAGE`).
const EXIT_USAGE: u8 = 64;

/// Parses the command line and does what it says.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(help) if !help.use_stderr() => help.exit(),
        Err(error) => return fail(&complaint(&error), EXIT_USAGE),
    };
    match cli.command {
        None => start(cli.serve),
        Some(Command::Certs(args)) => fail(&args.refusal("certs"), EXIT_USAGE),
        Some(Command::Check(args)) => match args.run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) if error.is_usage() => fail(&error.to_string(), EXIT_USAGE),
            Err(error) => fail(&error.to_string(), 1),
        },
        Some(Command::Completions { shell }) => {
            let mut command = Cli::command();
            let name = command.get_name().to_owned();
            clap_complete::generate(shell, &mut command, name, &mut io::stdout().lock());
            ExitCode::SUCCESS
        }
    }
}

fn start(args: ServeArgs) -> ExitCode {
    log::start(&args.log);
    raise_file_limit();
    let (runtime, work) = match Runtime::new().and_then(|runtime| Ok((runtime, one_thread()?))) {
        Ok(runtimes) => runtimes,
        Err(error) => return fail(&format!("cannot start threads: {error}"), 1),
    };
    let outcome = runtime.block_on(serve::run(args, work.handle()));
    // Whatever still runs was given its time: a thread that hangs in a disk must not keep the process from ending.
    work.shutdown_background();
    runtime.shutdown_background();
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(ServeError::Usage(reason)) => fail(&reason, EXIT_USAGE),
        Err(ServeError::Failed(error)) => fail(&format!("{error:#}"), 1),
    }
}

/// A thread of its own for watches and repairs. Connection, watch and reconciler hand over to each other with each event;
/// among several threads, most of that would be waking one.
fn one_thread() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).enable_all().build()
}

/// Connections are files. The soft limit of many systems, 1,024, is there for programs that still use `select`, and lower
/// than what this server is made for. Whether it could be raised shows when there are too many connections.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

#[expect(clippy::print_stderr, reason = "the one line that a failure is told in, whatever the log level")]
fn fail(reason: &str, status: u8) -> ExitCode {
    eprintln!("replica-count-manager: {reason}");
    ExitCode::from(status)
}
