//! How commands other than the server end.

use std::fs::{self, File};
use std::process::Command;

use tempfile::TempDir;

/// The exit status when the command line is invalid.
const USAGE: i32 = 64;

#[test]
fn certs_names_the_command_to_use_instead() {
    let folder = TempDir::new().unwrap();
    let check = |arguments: &[&str], expected: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_replica-count-manager"));
        let output = command.current_dir(&folder).arg("certs").args(arguments).output().unwrap();
        let stderr = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            stderr,
            format!(
                "replica-count-manager: `certs` has moved to kubectl-replicas; use: kubectl-replicas certs{expected}\n"
            )
        );
        assert_eq!(output.status.code(), Some(USAGE));
        assert!(output.stdout.is_empty());
    };
    check(&[], "");
    check(&["--help"], " --help");
    check(&["client", "--name", "alice", "--dir", "my files"], " client --name alice --dir 'my files'");
    assert_eq!(fs::read_dir(&folder).unwrap().count(), 0);
}

#[test]
fn the_exit_status_holds_even_if_nobody_can_read_the_reason() {
    let check = |arguments: &[&str], expected: i32| {
        let full = || File::options().write(true).open("/dev/full").unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_replica-count-manager"));
        let status = command.args(arguments).stdout(full()).stderr(full()).status().unwrap();
        assert_eq!(status.code(), Some(expected), "{arguments:?}");
    };
    check(&["certs"], USAGE);
    check(&["--kinds", "x"], USAGE);
    check(&["check", "--ca", "/nowhere"], USAGE);
    check(&["completions", "bash"], 1);
}
