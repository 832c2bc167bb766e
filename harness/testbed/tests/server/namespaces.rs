//! Processes in namespaces of their own, made as root or as an unprivileged user.

use std::ffi::OsStr;
use std::process::{Command, Output};

use crate::durability::report_not_run;

/// How to start a process in a new namespace, and how to enter it.
pub(crate) struct Namespace {
    pub(crate) unshare: Vec<&'static str>,
    enter: Vec<&'static str>,
}

impl Namespace {
    /// The first way to make one that works on this machine: the script `probe` succeeds in it. `flag` is that of
    /// `unshare` and `nsenter` for the kind of namespace. Reports that `what` cannot be tested if there is none.
    pub(crate) fn find(flag: &'static str, probe: &str, what: &str) -> Option<Self> {
        let as_root = Self { unshare: vec!["unshare", flag], enter: vec![flag] };
        let as_user = Self {
            unshare: vec!["unshare", flag, "--map-root-user"],
            enter: vec![flag, "--user", "--preserve-credentials"],
        };
        let mut reasons = Vec::new();
        for namespace in [as_root, as_user] {
            match run(&namespace.unshare, ["sh", "-c", probe]) {
                Ok(_) => return Some(namespace),
                Err(reason) => reasons.push(reason),
            }
        }
        report_not_run(what, &reasons.join("; "));
        None
    }

    /// Runs a program in the namespace of a process. The error is what it printed.
    pub(crate) fn run<S: AsRef<OsStr>>(
        &self,
        process: u32,
        arguments: impl IntoIterator<Item = S>,
    ) -> Result<Output, String> {
        let process = process.to_string();
        run(&[&["nsenter", "--target", &process], &self.enter[..]].concat(), arguments)
    }
}

/// Runs `launcher` with `arguments`. The error is what it printed.
pub(crate) fn run<S: AsRef<OsStr>>(
    launcher: &[&str],
    arguments: impl IntoIterator<Item = S>,
) -> Result<Output, String> {
    let (program, flags) = launcher.split_first().unwrap();
    let output = Command::new(program).args(flags).args(arguments).output();
    let output = output.map_err(|error| format!("{program}: {error}"))?;
    let reason = || String::from_utf8_lossy(&output.stderr).trim().to_owned();
    if output.status.success() { Ok(output) } else { Err(reason()) }
}
