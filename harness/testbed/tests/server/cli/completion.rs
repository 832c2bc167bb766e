//! Completion, as kubectl asks for it, and help.

use super::Cli;
use crate::fixture::{Fixture, eventually};

impl Cli<'_> {
    /// The candidates for the last of some words.
    fn complete(&self, words: &[&str]) -> String {
        let output = self.command("kubectl", [&["__complete", "replicas"], words].concat()).output().unwrap();
        String::from_utf8(output.stdout).unwrap()
    }
}

#[tokio::test]
async fn names_are_completed_from_the_server() {
    let fixture = Fixture::new().await;
    fixture.create("web", 1).await;
    fixture.create("worker", 1).await;
    let cli = Cli::new(&fixture);
    eventually("the names are completed", async || {
        let names = cli.complete(&["set", "w"]);
        if names == "web\nworker\n:4\n" { Ok(()) } else { Err(names) }
    })
    .await;
    assert_eq!(cli.complete(&["get", "web", "w"]), "worker\n:4\n");
    assert_eq!(cli.complete(&["who", "deploy/we"]), "deploy/web\n:4\n");
    let namespace = fixture.namespace.as_str();
    assert_eq!(cli.complete(&["get", "-n", namespace]), format!("{namespace}\n:4\n"));
    assert_eq!(cli.complete(&["get", "-n", "no-such-namespace", ""]), ":4\n");
    assert_eq!(cli.complete(&["get", "-o", "j"]), "json\n:4\n");
    assert_eq!(cli.complete(&["unp"]), ":4\n");
    assert_eq!(cli.complete(&["unde"]), ":4\n");
    assert_eq!(cli.complete(&["und"]), "undo\tGo back to the setting before the last change of it\n:4\n");
    assert_eq!(cli.complete(&["apply", "-f", ""]), ":0\n");
}

#[tokio::test]
async fn help_is_as_it_should_be() {
    let fixture = Fixture::new().await;
    let cli = Cli::stranger(&fixture);
    cli.golden("--help", "help.txt");
    for command in [
        "get",
        "set",
        "delete",
        "ignore",
        "enforce",
        "who",
        "watch",
        "diff",
        "pin",
        "undo",
        "apply",
        "export",
        "status",
        "login",
        "version",
        "completion",
        "ui",
    ] {
        let help = cli.ok(&format!("{command} -h"));
        assert!(help.contains(&format!("Usage: kubectl replicas {command}")), "{help}");
        assert!(help.contains("Examples:\n"), "{help}");
    }
    cli.golden("set -h", "help-set.txt");
    cli.golden("handover -h", "help-handover.txt");
    assert!(cli.fails("sett web 3", 2).contains("'set'"));
    assert!(cli.fails("get --namspace x", 2).contains("a similar argument exists: '--namespace'"));
}
