//! Runs the command line, and sets the exit status.

use std::io::{self, Write as _};
use std::process::ExitCode;

use clap::{CommandFactory, Parser};
use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
use tokio::runtime::{Builder, Runtime};

use crate::kubernetes::replica_count::definition;
use crate::server::args::{Cli, Command, ServeArgs, one_line};
use crate::server::log::Log;
use crate::server::serve::{self, ServeError};
use crate::server::transfer::TransferError;

/// A flag, or a file that it names, is not usable (`EX_USAGE`).
const EXIT_USAGE: u8 = 64;

/// Parses and runs the command line.
pub fn run() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(help) if !help.use_stderr() => help.exit(),
        Err(error) => return fail(&one_line(&error), EXIT_USAGE),
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
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command, name, &mut script);
            print(&script)
        }
        Some(Command::Import(args)) => transfer(args.import()),
        Some(Command::Export(args)) => transfer(args.export()),
        Some(Command::Notify(args)) => match args.run() {
            Ok(()) => ExitCode::SUCCESS,
            Err(error) if error.is_usage() => fail(&error.to_string(), EXIT_USAGE),
            Err(error) => fail(&error.to_string(), 1),
        },
        Some(Command::Crd) => print(definition().as_bytes()),
    }
}

fn transfer(command: impl Future<Output = Result<(), TransferError>>) -> ExitCode {
    let runtime = match Runtime::new() {
        Ok(runtime) => runtime,
        Err(error) => return fail(&format!("cannot start threads: {error}"), 1),
    };
    match runtime.block_on(command) {
        Ok(()) => ExitCode::SUCCESS,
        Err(TransferError::Usage(reason)) => fail(&reason, EXIT_USAGE),
        Err(TransferError::Failed(reason)) => fail(&reason, 1),
    }
}

fn print(text: &[u8]) -> ExitCode {
    match io::stdout().write_all(text) {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => fail(&format!("standard output is not writable: {error}"), 1),
    }
}

fn start(args: ServeArgs) -> ExitCode {
    let (mut log, runtime, reconcile_runtime) = match start_threads(&args) {
        Ok(started) => started,
        Err(error) => return fail(&format!("cannot start threads: {error}"), 1),
    };
    raise_file_limit();
    let outcome = runtime.block_on(serve::run(args, reconcile_runtime.handle(), log.take_parts()));
    // Tasks that still run have had their time: a thread that hangs on a disk must not keep the process from ending.
    reconcile_runtime.shutdown_background();
    runtime.shutdown_background();
    let (reason, status) = match outcome {
        Ok(()) => return ExitCode::SUCCESS,
        Err(ServeError::Usage(reason)) => (reason, EXIT_USAGE),
        Err(ServeError::Failed(error)) => (format!("{error:#}"), 1),
    };
    log.add_line(&failure(&reason));
    ExitCode::from(status)
}

fn start_threads(args: &ServeArgs) -> io::Result<(Log, Runtime, Runtime)> {
    Ok((Log::start(&args.log)?, Runtime::new()?, single_worker()?))
}

/// A separate thread for watches and repairs. Connection, watch and reconciler hand over to each other for each event;
/// with several threads, most of the time would be spent waking them.
fn single_worker() -> io::Result<Runtime> {
    Builder::new_multi_thread().worker_threads(1).enable_all().build()
}

/// Connections use file descriptors. The soft limit of many systems, 1,024, exists for programs that still use
/// `select`, and is too low for this server. If it cannot be raised, that shows once there are too many connections.
fn raise_file_limit() {
    let limit = getrlimit(Resource::Nofile);
    let _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
}

/// Reports a failure in one line, at any log level. The status holds even if nobody can read the line.
fn fail(reason: &str, status: u8) -> ExitCode {
    let _ = writeln!(io::stderr(), "{}", failure(reason));
    ExitCode::from(status)
}

fn failure(reason: &str) -> String {
    format!("replica-count-manager: {reason}")
}
