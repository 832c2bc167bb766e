//! A command that has moved names the new command and does nothing else.

use std::fs;
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
