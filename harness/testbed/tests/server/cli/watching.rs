//! `watch` goes on when the server is restarted.

use std::io::{BufRead as _, BufReader};
use std::process::{Child, Stdio};
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::Cli;
use crate::fixture::Fixture;

/// How long a line may take.
const DEADLINE: Duration = Duration::from_secs(30);

/// The lines of a running command.
fn lines(child: &mut Child) -> mpsc::Receiver<String> {
    let (sender, lines) = mpsc::channel();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
    lines
}

#[tokio::test]
async fn what_is_got_is_shown_again_when_it_changes() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    let cli = Cli::new(&fixture);
    let columns = "custom-columns=NAME:.metadata.name,COUNT:.spec.replicas";
    let mut child = cli.plugin(["get", "-w", "-o", columns]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = lines(&mut child);
    let next = || lines.recv_timeout(DEADLINE).unwrap();
    assert_eq!([next(), next()], ["NAME   COUNT", "web    3"]);
    cli.ok("set web 4");
    assert_eq!(next(), "web   4");
    child.kill().unwrap();
    child.wait().unwrap();
}

#[tokio::test]
async fn what_happens_is_shown_one_line_each() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    let cli = Cli::new(&fixture);
    let mut child = cli.plugin(["watch", "web", "-o", "json"]).stdout(Stdio::piped()).spawn().unwrap();
    let lines = lines(&mut child);
    crate::fixture::eventually("the stream is open", async || {
        let metrics = fixture.manager.metrics().await.unwrap();
        if metrics.contains("replica_count_manager_watch_streams 1\n") { Ok(()) } else { Err(metrics) }
    })
    .await;
    fixture.scale("web", 7).await;
    let mut types = Vec::new();
    while types.len() < 2 {
        let line = lines.recv_timeout(DEADLINE).unwrap();
        let event: serde_json::Value = serde_json::from_str(&line).unwrap();
        assert_eq!(event["by"], "somebody", "{line}");
        types.push(event["type"].as_str().unwrap().to_owned());
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert_eq!(types, ["drifted", "repaired"]);
}
