//! A command that has moved: whoever calls it is told the new one, and nothing is done.

use std::fs;
use std::process::Command;

use tempfile::TempDir;

/// The exit status when the command line is not usable.
const USAGE: i32 = 64;

#[test]
fn certs_names_the_command_that_makes_certificates_now() {
    let folder = TempDir::new().unwrap();
    let check = |arguments: &[&str], expected: &str| {
        let mut command = Command::new(env!("CARGO_BIN_EXE_replica-count-manager"));
        let output = command.current_dir(&folder).arg("certs").args(arguments).output().unwrap();
        let said = String::from_utf8(output.stderr).unwrap();
        assert_eq!(
            said,
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
