//! `testbed node`, inside its namespaces: starts the node, and the command if there is one.

use std::ffi::OsString;
use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::Result;
use replica_count_testbed::cluster::{Program, Programs};
use replica_count_testbed::foreground::Foreground;
use replica_count_testbed::node::{Node, Site, namespaces};
use replica_count_testbed::{Options, parent_death};
use tokio::runtime::Runtime;

use crate::arguments::NodeInside;
use crate::output::{say, say_error};

/// How long the command may take to end after SIGTERM.
const GRACE: Duration = Duration::from_secs(10);

pub(crate) fn run(testbed: &Path, arguments: NodeInside) -> Result<ExitCode> {
    Runtime::new()?.block_on(async {
        let stopped = crate::commands::stopped()?;
        tokio::pin!(stopped);
        let mut options = Options::new(testbed.to_owned());
        if let Some(path) = arguments.node.audit_log {
            options = options.with_audit_log(path);
        }
        for argument in arguments.node.api_server_arguments {
            options = options.with_api_server_argument(argument);
        }
        let site = Site::new(testbed.to_owned(), arguments.folder)?;
        let mut node = tokio::select! {
            node = Node::start(&site, options, say_error) => node?,
            () = &mut stopped => return Ok(ExitCode::FAILURE),
        };
        match arguments.node.command.as_slice() {
            [] => run_until_stopped(&mut node, stopped).await,
            command => run_command(&mut node, testbed, command, stopped).await,
        }
    })
}

/// Keeps the node running until stopped.
async fn run_until_stopped(node: &mut Node, stopped: impl Future<Output = ()>) -> Result<ExitCode> {
    say(&nsenter_line(node)?);
    say_error("The node runs until Ctrl-C.");
    tokio::select! {
        died = node.watch() => died.map(|never| match never {}),
        () = stopped => Ok(ExitCode::SUCCESS),
    }
}

/// Keeps the node running until the command ends.
async fn run_command(
    node: &mut Node,
    testbed: &Path,
    command: &[OsString],
    stopped: impl Future<Output = ()>,
) -> Result<ExitCode> {
    let mut guarded = parent_death::foreground_command(testbed, Path::new(&command[0]));
    guarded.args(&command[1..]).envs(node.environment());
    let mut command = Foreground::start("the command", guarded)?;
    let status = tokio::select! {
        status = command.wait() => status?,
        died = node.watch() => match died? {},
        () = stopped => command.stop(None, GRACE).await?,
    };
    Ok(ExitCode::from(status))
}

/// A command line that enters the namespaces.
fn nsenter_line(node: &Node) -> Result<String> {
    let mut variables: Vec<String> =
        node.environment().into_iter().map(|(name, value)| format!("{name}={}", value.display())).collect();
    let kubectl = Programs::from_env()?.ensure(Program::Kubectl)?;
    if let Some(folder) = kubectl.parent() {
        variables.push(format!("PATH={}:$PATH", folder.display()));
    }
    let id = namespaces::init_id()?;
    Ok(format!("nsenter --target {id} --net --mount --pid --wd=\"$PWD\" env {} bash", variables.join(" ")))
}
