//! The demo must succeed: it is the first thing that people see.

use std::process::Command;

#[test]
fn the_demo_succeeds() {
    let output = Command::new(env!("CARGO_BIN_EXE_testbed")).arg("demo").output().unwrap();
    let stdout = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{stdout}\n{}", String::from_utf8_lossy(&output.stderr));
    for expected in [
        "1. A team sets",
        "it: kubectl (Update of scale)",
        "it: helm (Update)",
        "all 3 pods are still there",
        "8. The team deletes",
    ] {
        assert!(stdout.contains(expected), "no {expected:?} in\n{stdout}");
    }
}
