//! Nobody reads the log: a pipe that is full delays neither a Set nor a repair, nor the end of the server.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::{Path, PathBuf};
use std::sync::mpsc::{Sender, channel};
use std::thread;
use std::time::Duration;

use replica_count_testbed::control_plane::Scope;
use replica_count_testbed::{Manager, manager};
use rustix::fs::{CWD, FileType, Mode, mknodat};
use tokio::time::timeout;

use crate::fixture::{Fixture, eventually, options, shared};
use crate::standalone::Standalone;

/// For each call. A server that waits for its log never answers.
const PATIENCE: Duration = Duration::from_secs(20);

/// Rounds until so many lines were logged that some are lost, at the latest.
const MAX_ROUNDS: i32 = 500;

/// Reads the log until the server listens, and then stops. Drop the returned value to read on.
fn stop_reading(fifo: &Path, copy: PathBuf) -> Sender<()> {
    let (resume, resumed) = channel::<()>();
    let log = BufReader::new(File::options().read(true).write(true).open(fifo).unwrap());
    thread::spawn(move || {
        for line in log.lines() {
            let line = line.unwrap();
            // The first line comes after the file was made for this server. At the end of the test, it is gone.
            let Ok(mut copy) = File::options().append(true).open(&copy) else { return };
            writeln!(copy, "{line}").unwrap();
            if line.contains(r#""listening""#) {
                let _ = resumed.recv();
            }
        }
    });
    resume
}

/// Lets the server log to a pipe, as much as it can.
fn into_pipe(options: manager::Options) -> (manager::Options, Sender<()>) {
    let folder = options.store().parent().unwrap().to_owned();
    let fifo = folder.join("log");
    mknodat(CWD, &fifo, FileType::Fifo, Mode::RUSR | Mode::WUSR, 0).unwrap();
    let resume = stop_reading(&fifo, folder.join("manager-1.log"));
    let options = options
        .through(["sh", "-c", r#"exec "$@" 2<>"$0""#, fifo.to_str().unwrap()])
        .argument("--log-level")
        .argument("trace");
    (options, resume)
}

async fn dropped_lines(manager: &Manager) -> u64 {
    let start = "replica_count_manager_log_lines_dropped_total ";
    let metrics = manager.metrics().await.unwrap();
    metrics.lines().find_map(|line| line.strip_prefix(start)).unwrap().parse().unwrap()
}

#[tokio::test]
async fn sets_and_repairs_go_on_when_nobody_reads_the_log() {
    let control_plane = shared().await;
    let (options, resume) = into_pipe(options(control_plane, &Scope::Cluster, &[]).await);
    let mut fixture = Fixture::with_options(control_plane, options).await;
    fixture.create_managed("web", 0).await;
    let mut round = 0;
    while dropped_lines(&fixture.manager).await == 0 {
        round += 1;
        assert!(round < MAX_ROUNDS, "no line was lost");
        let answer = timeout(PATIENCE, fixture.set("web", round)).await.expect("a Set in time");
        assert_eq!(answer.new_replicas, Some(round));
    }
    fixture.wait_for_count("web", round).await;
    fixture.scale("web", round + 7).await;
    fixture.wait_for_count("web", round).await;

    drop(resume);
    eventually("the loss is reported", async || {
        let log = fixture.manager.log();
        let reported = log.iter().any(|line| line.contains("log lines were dropped"));
        if reported { Ok(()) } else { Err(log.len()) }
    })
    .await;
    let dropped = dropped_lines(&fixture.manager).await;
    fixture.set("web", 0).await;
    eventually("new lines are logged", async || {
        let log = fixture.manager.log();
        if log.iter().any(|line| line.contains(r#""set""#) && line.contains(r#""to":"0""#)) {
            Ok(())
        } else {
            Err(log.len())
        }
    })
    .await;
    assert_eq!(dropped_lines(&fixture.manager).await, dropped);
}

#[tokio::test]
async fn the_server_ends_when_nobody_reads_the_log() {
    let standalone = Standalone::new();
    let (options, _resume) = into_pipe(standalone.options(&[]));
    let manager = Manager::start(&options).await.unwrap();
    for _ in 0..200 {
        manager.client().await.unwrap();
    }
    let status = timeout(PATIENCE, manager.terminate()).await.expect("an end in time").unwrap();
    assert_eq!(status.code(), Some(0));
}
