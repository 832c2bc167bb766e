//! Uses strace to kill the server at one of its file operations on the store, or to make that operation fail.

use std::fs::{self, File};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use replica_count_testbed::manager::Options;
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::{self, Instant};

use crate::schedule::FileOperation;

const DEADLINE: Duration = Duration::from_secs(30);
const POLL: Duration = Duration::from_millis(5);

/// A running strace. It detaches from the server on drop.
#[derive(Debug)]
pub(crate) struct Strace {
    child: Child,
    calls: PathBuf,
}

/// What to inject at an operation.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Injection<'a> {
    Kill,
    Fail { errno: &'a str },
}

impl Injection<'_> {
    fn argument(self, operation: &FileOperation) -> String {
        let FileOperation { call, when } = operation;
        let what = match self {
            Self::Kill => "signal=KILL".to_owned(),
            Self::Fail { errno } => format!("error={errno}"),
        };
        format!("inject={}:{what}:when={when}", variants(call))
    }
}

impl Strace {
    /// Attaches to the server `pid`, and returns once every operation is traced.
    pub(crate) async fn attach(
        pid: u32,
        options: &Options,
        operation: &FileOperation,
        injection: Injection<'_>,
    ) -> Result<Self> {
        let store = options.store();
        let log = store.with_extension("strace");
        let mut command = Command::new("strace");
        command.args(arguments(&store, operation, injection)).args(["-p", &pid.to_string()]);
        command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(File::create(&log)?);
        let child = command.spawn().context("cannot run strace")?;
        let mut this = Self { child, calls: calls(&store) };
        let deadline = Instant::now() + DEADLINE;
        loop {
            let output = fs::read_to_string(&log)?;
            if output.contains(" attached") {
                return Ok(this);
            }
            if let Some(status) = this.child.try_wait()? {
                bail!("strace ended ({status}): {output}");
            }
            if Instant::now() > deadline {
                bail!("strace did not attach within {DEADLINE:?}: {output}");
            }
            time::sleep(POLL).await;
        }
    }

    /// Detaches from the server; returns whether an operation was made to fail.
    pub(crate) fn detach(self) -> Result<bool> {
        let calls = self.calls.clone();
        drop(self);
        Ok(fs::read_to_string(calls)?.contains("(INJECTED)"))
    }
}

impl Drop for Strace {
    fn drop(&mut self) {
        // It detaches and ends. This fails only if it has already ended.
        let _ = kill_process(Pid::from_child(&self.child), Signal::INT);
        let _ = self.child.wait();
    }
}

/// The command prefix that starts a program under strace.
pub(crate) fn launcher(
    options: &Options,
    operation: &FileOperation,
    injection: Injection<'_>,
) -> Vec<String> {
    let mut launcher = vec!["strace".to_owned()];
    launcher.extend(arguments(&options.store(), operation, injection));
    launcher
}

fn arguments(store: &Path, operation: &FileOperation, injection: Injection<'_>) -> Vec<String> {
    let mut temporary = store.as_os_str().to_owned();
    temporary.push(".tmp");
    let folder = store.parent().unwrap_or(Path::new("/"));
    let paths = [store, Path::new(&temporary), folder];
    let mut arguments = vec!["--follow-forks".to_owned(), "--quiet=none".to_owned()];
    arguments.extend(["-o".to_owned(), calls(store).display().to_string()]);
    arguments.extend(["-e".to_owned(), format!("trace={}", variants(&operation.call))]);
    arguments.extend(["-e".to_owned(), injection.argument(operation)]);
    arguments.extend(paths.iter().flat_map(|path| ["-P".to_owned(), path.display().to_string()]));
    arguments
}

/// The output file of strace.
fn calls(store: &Path) -> PathBuf {
    store.with_extension("calls")
}

/// The names of a call on different architectures.
fn variants(call: &str) -> String {
    match call {
        "unlink" => "?unlink,?unlinkat".to_owned(),
        "rename" => "?rename,?renameat,?renameat2".to_owned(),
        "fchmod" => "?fchmod,?fchmodat".to_owned(),
        other => other.to_owned(),
    }
}
