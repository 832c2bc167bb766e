//! Starts children that die with their parent, even if it is killed with SIGKILL.
//!
//! Linux can send a process a signal when its parent dies, but the process must request this itself, between fork and
//! exec. So children are started through a guard: the `testbed` binary in a hidden mode, which requests the signal and
//! then execs the program. There are two pitfalls:
//!
//! - "The parent" is the *thread* that forked. A worker thread of a runtime may end long before the process, so one
//!   thread that lives as long as the process forks all children.
//! - The parent may die before the request. So the guard then checks that its parent is still the expected one.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::path::Path;
use std::process::{self, Child, Command};
use std::sync::{LazyLock, mpsc};
use std::{io, thread};

use anyhow::{Context as _, Result, bail};
use rustix::process::{Pid, Signal};

/// The hidden subcommand of `testbed`; see [`exec`].
pub const SUBCOMMAND: &str = "parent-death-guard";

/// A command to spawn, and the channel for the child.
type Request = (Command, mpsc::SyncSender<io::Result<Child>>);

/// The thread that forks all children. It never ends, because this sender is never dropped.
static FORKER: LazyLock<mpsc::Sender<Request>> = LazyLock::new(|| {
    let (sender, requests) = mpsc::channel::<Request>();
    thread::spawn(move || {
        for (mut command, reply) in requests {
            // The receiver is gone only if the caller panicked; dropping the child kills it.
            let _ = reply.send(command.spawn());
        }
    });
    sender
});

/// A command that runs `program` so that it dies with this process; `testbed` is the path of that binary.
///
/// It gets its own process group, so Ctrl-C on the terminal reaches only this process, which stops its children in
/// order.
pub fn command(testbed: &Path, program: &Path) -> Command {
    let mut command = foreground_command(testbed, program);
    command.process_group(0);
    command
}

/// The same in the process group of this process, so the program can read from the terminal. Ctrl-C reaches it, too.
pub fn foreground_command(testbed: &Path, program: &Path) -> Command {
    let mut command = Command::new(testbed);
    command.arg(SUBCOMMAND).arg("--parent").arg(process::id().to_string()).arg("--").arg(program);
    command
}

/// Spawns a [`command`] so that the child dies with this process rather than with this thread.
pub fn spawn(command: Command) -> io::Result<Child> {
    let (reply, child) = mpsc::sync_channel(1);
    let gone = |_| io::Error::other("the thread that forks children is gone");
    FORKER.send((command, reply)).map_err(|error| gone(error.to_string()))?;
    child.recv().map_err(|error| gone(error.to_string()))?
}

/// The guard: requests SIGKILL on the death of `parent`, then execs `program`. It returns only on failure.
pub fn exec(parent: u32, program: &[OsString]) -> Result<()> {
    rustix::process::set_parent_process_death_signal(Some(Signal::KILL))
        .context("cannot request a signal on the death of the parent")?;
    let actual = rustix::process::getppid().map(Pid::as_raw_nonzero);
    if actual.and_then(|pid| u32::try_from(pid.get()).ok()) != Some(parent) {
        bail!("the parent {parent} died before its child was guarded");
    }
    let Some((path, arguments)) = program.split_first() else { bail!("there is no program to run") };
    let error = Command::new(path).args(arguments).exec();
    Err(error).with_context(|| format!("cannot run {}", path.display()))
}
