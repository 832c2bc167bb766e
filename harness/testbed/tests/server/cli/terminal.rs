//! What is different on a terminal: colours, progress, and questions.

use std::fs::{self, File, OpenOptions};
use std::io::{Read as _, Write as _};
use std::process::Command;

use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};

use super::Cli;
use crate::fixture::{Fixture, eventually};

/// Runs a command on a terminal of its own, and types a text. Returns its exit status and what the terminal shows.
fn on_terminal(mut command: Command, typed: &str) -> (Option<i32>, String) {
    let terminal = openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY).unwrap();
    grantpt(&terminal).unwrap();
    unlockpt(&terminal).unwrap();
    let path = ptsname(&terminal, Vec::new()).unwrap().into_string().unwrap();
    let side = || OpenOptions::new().read(true).write(true).open(&path).unwrap();
    let mut child = command.stdin(side()).stdout(side()).stderr(side()).spawn().unwrap();
    drop(command);
    let mut terminal = File::from(terminal);
    terminal.write_all(typed.as_bytes()).unwrap();
    let mut shown = Vec::new();
    // Once the last program has closed its side, reading fails.
    let _ = terminal.read_to_end(&mut shown);
    (child.wait().unwrap().code(), String::from_utf8(shown).unwrap().replace("\r\n", "\n"))
}

#[tokio::test]
async fn states_have_colours_unless_nobody_wants_them() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    let cli = Cli::new(&fixture);
    let (status, shown) = on_terminal(cli.plugin(["get"]), "");
    assert_eq!(status, Some(0), "{shown}");
    assert!(shown.contains("   \x1b[32mInSync\x1b[0m   "), "{shown:?}");
    let mut plain = cli.plugin(["get"]);
    plain.env("NO_COLOR", "1");
    let (_, shown) = on_terminal(plain, "");
    assert!(shown.contains("   InSync   ") && !shown.contains('\x1b'), "{shown:?}");
}

#[tokio::test]
async fn many_changes_show_progress_and_deletions_are_confirmed() {
    let fixture = Fixture::new().await;
    let cli = Cli::new(&fixture);
    let entries: Vec<_> = (0..100).map(|n| format!("- {{name: w{n}, replicas: 1}}\n")).collect();
    fs::write(cli.file("counts"), entries.concat()).unwrap();
    let (status, shown) = on_terminal(cli.plugin(["apply", "-f", "counts", "--allow-missing"]), "");
    assert_eq!(status, Some(0), "{shown}");
    assert!(
        shown.contains("\r\x1b[K50 of 100") && shown.contains("deployment.apps/w99 created (1)\n"),
        "{shown:?}"
    );

    fs::write(cli.file("counts"), entries[1..].concat()).unwrap();
    let prune = || cli.plugin(["apply", "-q", "-f", "counts", "--prune", "--all"]);
    for (answer, status, left) in [("n\n", 1, 100), ("y\n", 0, 99)] {
        let (code, shown) = on_terminal(prune(), answer);
        assert!(shown.contains("/deployment.apps/w0\nGo on? [y/N] "), "{shown:?}");
        assert_eq!(code, Some(status), "{shown}");
        eventually("as many are left", async || {
            let found = cli.ok("get -o name").lines().count();
            if found == left { Ok(()) } else { Err(found) }
        })
        .await;
    }
}
