//! `testbed node`, outside its namespaces: creates the host resources and the namespaces that [`inside`] runs in.

mod inside;

use std::path::Path;
use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result};
pub(crate) use inside::run as run_inside;
use replica_count_testbed::cluster::{Program, Programs};
use replica_count_testbed::foreground::Foreground;
use replica_count_testbed::node::{HostResources, namespaces, requirements};
use tokio::runtime::Runtime;

use crate::arguments::{NODE_INSIDE, Node};

/// Longer than the grace period of the command inside.
const GRACE: Duration = Duration::from_secs(20);

pub(crate) fn run(testbed: &Path, arguments: &Node) -> Result<ExitCode> {
    requirements::check()?;
    if arguments.check {
        return Ok(ExitCode::SUCCESS);
    }
    build()?;
    let host_resources = HostResources::new(testbed)?;
    let mut command = namespaces::command(testbed);
    command.arg(NODE_INSIDE).arg("--folder").arg(host_resources.path());
    if let Some(path) = &arguments.audit_log {
        command.arg("--audit-log").arg(path);
    }
    for argument in &arguments.api_server_arguments {
        command.arg("--api-server-arg").arg(argument);
    }
    command.arg("--").args(&arguments.command);
    let status = Runtime::new().context("cannot start the runtime")?.block_on(async {
        let stopped = super::stopped()?;
        let mut inside = Foreground::start("the node", command)?;
        tokio::select! {
            status = inside.wait() => status,
            () = stopped => inside.stop(namespaces::inner_process(inside.id()), GRACE).await,
        }
    });
    drop(host_resources);
    status.map(ExitCode::from)
}

/// Builds missing programs now, because the node has no network for it.
fn build() -> Result<()> {
    let programs = Programs::from_env()?;
    let unneeded = [Program::Grpcurl, Program::Peer];
    for program in Program::all().filter(|program| !unneeded.contains(program)) {
        programs.ensure(program)?;
    }
    Ok(())
}
