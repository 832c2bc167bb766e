//! Runs the command line as a process and checks its output and exit status.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::path::Path;
use std::process::{Command, Stdio};

use tempfile::TempDir;

const FAILED: i32 = 1;
const USAGE: i32 = 2;

fn command(folder: &Path, arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_kubectl-replicas"));
    command.current_dir(folder).args(arguments);
    command
}

/// Runs the command. Expects `text` on standard output, or on standard error if it fails, and nothing on the other.
#[track_caller]
fn check(folder: &Path, arguments: &[&str], status: i32, text: &str) {
    let output = command(folder, arguments).output().unwrap();
    let [stdout, stderr] = [output.stdout, output.stderr].map(|text| String::from_utf8(text).unwrap());
    assert_eq!(output.status.code(), Some(status), "{arguments:?}: {stderr}");
    let (output, empty) = if status == 0 { (stdout, stderr) } else { (stderr, stdout) };
    assert!(output.contains(text), "{arguments:?}: {text:?} is not in: {output}");
    assert_eq!(empty, "", "{arguments:?}");
}

#[test]
fn certs_writes_to_the_folder_that_it_prints() {
    let folder = TempDir::new().unwrap();
    let check = |arguments: &[&str], status, text| check(folder.path(), arguments, status, text);
    check(&["certs"], 0, "wrote certificates/ca/ca.key\n");
    check(&["certs"], FAILED, "error: certificates/ca/ca.key exists; nothing was written");
    check(&["certs", "client", "--name", "alice"], 0, "wrote certificates/alice/alice.key\n");
    check(&["certs", "--dir", "other"], 0, "wrote other/client/client.crt\n");
    check(
        &["certs", "client", "--name", "alice", "--dir", "missing"],
        FAILED,
        "error: no CA here: missing/ca/ca.crt does not exist; create it first with `kubectl-replicas certs`\n",
    );
}

#[test]
fn an_invalid_command_line_is_a_usage_error() {
    let folder = TempDir::new().unwrap();
    let check = |arguments: &[&str], text| check(folder.path(), arguments, USAGE, text);
    check(&[], "Usage: kubectl replicas <COMMAND>");
    check(&["no-such-command"], "'no-such-command'");
    check(&["--no-such-flag"], "'--no-such-flag'");
    check(&["certs", "--days", "0"], "error: invalid value '0' for '--days <N>'");
    check(&["certs", "client"], "--name <NAME>");
    check(&["completion"], "<SHELL>");
    check(&["completion", "dos"], "'dos'");
}

#[test]
fn it_prints_version_help_and_completions() {
    let folder = TempDir::new().unwrap();
    let check = |arguments: &[&str], text: &str| check(folder.path(), arguments, 0, text);
    check(&["--version"], &format!("kubectl-replicas {}\n", env!("CARGO_PKG_VERSION")));
    check(&["--help"], "Examples:");
    check(&["certs", "--help"], "Examples:");
    for (shell, text) in
        [("bash", "complete -F"), ("zsh", "#compdef kubectl-replicas"), ("fish", "complete -c")]
    {
        check(&["completion", shell], text);
    }
}

#[test]
fn a_closed_pipe_is_a_failure_and_not_a_panic() {
    let folder = TempDir::new().unwrap();
    let mut command = command(folder.path(), &["completion", "bash"]);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    drop(child.stdout.take());
    let output = child.wait_with_output().unwrap();
    let stderr = String::from_utf8(output.stderr).unwrap();
    assert_eq!(output.status.code(), Some(FAILED), "{stderr}");
    assert!(stderr.starts_with("error: standard output is not writable: "), "{stderr}");
}
