//! Network, mount and pid namespaces, and the first process in there. When it ends, the kernel kills all others, and
//! their namespaces, mounts and network devices are gone.

use std::ffi::OsString;
use std::path::Path;
use std::process::{Command, ExitCode};
use std::{env, fs};

use anyhow::{Context as _, Result, bail};
use rustix::io::retry_on_intr;
use rustix::mount::{MountFlags, mount};
use rustix::process::{Pid, WaitOptions, WaitStatus, wait};

use super::requirements;
use crate::parent_death;

/// The hidden subcommand of `testbed`; see [`init`].
pub const INIT: &str = "node-init";

/// The environment variable in which [`init`] passes on its own process id outside the namespaces.
const OUTER_ID: &str = "TESTBED_NODE_ID";

/// The flags of `unshare`.
pub(super) const FLAGS: [&str; 4] = ["--net", "--mount", "--pid", "--fork"];

/// A command that runs `testbed` in new namespaces. The caller adds its arguments.
pub fn command(testbed: &Path) -> Command {
    let mut command = parent_death::foreground_command(testbed, Path::new("unshare"));
    // `unshare` dies with this process, and `--kill-child` kills its child with it.
    command.args(FLAGS).args(["--kill-child", "--"]);
    command.arg(testbed).args([INIT, "--"]).arg(testbed);
    command.env("PATH", requirements::search_path());
    command
}

/// The first process: starts `program`, reaps orphans, and ends when the program does.
pub fn init(program: &[OsString]) -> Result<ExitCode> {
    // Until the next line mounts another, /proc is that of the outside, and has this process's id there.
    let id = fs::read_link("/proc/self").context("/proc is not mounted")?;
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("proc", "/proc", "proc", flags, None).context("cannot mount /proc")?;
    let Some((path, arguments)) = program.split_first() else { bail!("there is no program to run") };
    let child = Command::new(path).args(arguments).env(OUTER_ID, id).spawn();
    let child = Pid::from_child(&child.with_context(|| format!("cannot run {}", path.display()))?);
    loop {
        match retry_on_intr(|| wait(WaitOptions::empty())).context("cannot wait for a process")? {
            Some((ended, status)) if ended == child => return Ok(exit_code(status)),
            Some(_) | None => {}
        }
    }
}

/// The id of the first process, as seen outside its namespaces.
pub fn init_id() -> Result<String> {
    env::var(OUTER_ID).context("not started by the first process of a node")
}

/// The program started by the first process of [`command`]; `None` if there is none yet. `id` is that of `unshare`.
pub fn inner_process(id: u32) -> Option<Pid> {
    let child = |id: u32| {
        let children = fs::read_to_string(format!("/proc/{id}/task/{id}/children")).ok()?;
        children.split_whitespace().next()?.parse::<u32>().ok()
    };
    let id = child(child(id)?)?;
    Pid::from_raw(i32::try_from(id).ok()?)
}

/// The exit code that a shell would report.
fn exit_code(status: WaitStatus) -> ExitCode {
    let code = status.exit_status().or_else(|| status.terminating_signal().map(|signal| 128 + signal));
    code.and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from)
}
