//! `watch` goes on when the server is restarted.

use std::io::{BufRead as _, BufReader};
use std::process::Stdio;
use std::sync::mpsc;
use std::thread;
use std::time::Duration;

use super::Cli;
use crate::fixture::Fixture;

/// How long a line may take.
const DEADLINE: Duration = Duration::from_secs(30);

#[tokio::test]
async fn what_happens_is_shown_one_line_each() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    let cli = Cli::new(&fixture);
    let mut child = cli.plugin(["watch", "web", "-o", "json"]).stdout(Stdio::piped()).spawn().unwrap();
    let (sender, lines) = mpsc::channel();
    let stdout = BufReader::new(child.stdout.take().unwrap());
    thread::spawn(move || stdout.lines().map_while(Result::ok).try_for_each(|line| sender.send(line)));
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
