//! What happened can be asked for, also after the server was killed, and watched while it happens.

use std::fs;
use std::path::Path;
use std::time::Duration;

use replica_count_api::proto::{self, AuthorCertainty, DeploymentState, EventType};
use replica_count_testbed::control_plane::Scope;
use tokio::time;
use tonic::{Code, Streaming};
use tonic_types::StatusExt as _;

use crate::fixture::{Fixture, eventually, options, shared};

pub(crate) type Stream = Streaming<proto::WatchDeploymentsResponse>;

/// How long the next message of a stream may take.
const DEADLINE: Duration = Duration::from_secs(30);

impl Fixture<'_> {
    /// What happened to `web`, newest first.
    pub(crate) async fn events(&self, types: &[EventType]) -> Vec<proto::Event> {
        let request = proto::ListEventsRequest {
            name: "web".to_owned(),
            namespace: self.namespace.clone(),
            types: types.iter().map(|event_type| (*event_type).into()).collect(),
            ..Default::default()
        };
        self.client.clone().list_events(request).await.unwrap().into_inner().events
    }

    pub(crate) async fn wait_for_event(&self, event_type: EventType) -> proto::Event {
        eventually("the event is in the history", async || {
            self.events(&[event_type]).await.into_iter().next().ok_or("it is not")
        })
        .await
    }

    /// Lets kubectl change the count of `web`.
    pub(crate) fn scale_by_kubectl(&self, count: i32) {
        let output = self.kubectl(["scale", "deployment/web", &format!("--replicas={count}")]);
        assert!(output.status.success(), "{output:?}");
    }

    /// Lets kubectl change the count of `web`, and waits for the repair.
    pub(crate) async fn drift(&self, count: i32, desired: i32) {
        self.scale_by_kubectl(count);
        self.wait_for_event(EventType::EventRepaired).await;
        self.wait_for_count("web", desired).await;
    }

    /// Watches the namespace, and returns the names of the snapshot.
    pub(crate) async fn watch(&self, types: &[EventType]) -> (Stream, Vec<String>) {
        let request = proto::WatchDeploymentsRequest {
            namespace: self.namespace.clone(),
            types: types.iter().map(|event_type| (*event_type).into()).collect(),
            ..Default::default()
        };
        let mut stream = self.client.clone().watch_deployments(request).await.unwrap().into_inner();
        let snapshot = stream.message().await.unwrap().unwrap();
        assert!(snapshot.snapshot_complete && snapshot.event.is_none(), "{snapshot:?}");
        (stream, snapshot.rows.into_iter().map(|row| row.name).collect())
    }
}

pub(crate) async fn next(stream: &mut Stream) -> proto::Event {
    let message = time::timeout(DEADLINE, stream.message()).await.unwrap();
    message.unwrap().unwrap().event.unwrap()
}

pub(crate) fn check_drifted(event: &proto::Event) {
    let author = (&*event.by, &*event.operation, &*event.subresource, event.certainty());
    assert_eq!(author, ("kubectl", "Update", "scale", AuthorCertainty::AuthorClaimed));
    assert_eq!((event.from, event.to, event.generation, event.times), (Some(3), Some(7), 1, 1));
}

#[tokio::test]
async fn a_drift_is_remembered_with_its_author_after_a_kill() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    fixture.drift(7, 3).await;
    let before = fixture.events(&[]).await;
    let types: Vec<_> = before.iter().map(proto::Event::r#type).collect();
    assert_eq!(types, [EventType::EventRepaired, EventType::EventDrifted, EventType::EventSet]);
    check_drifted(&before[1]);
    let set = &before[2];
    assert_eq!((&*set.by, set.certainty(), set.to), ("client", AuthorCertainty::AuthorProven, Some(3)));
    let repaired = &before[0];
    assert_eq!((&*repaired.by, repaired.from, repaired.to), ("kubectl", Some(7), Some(3)));
    assert!(repaired.took.is_some() && repaired.pods_lost.is_some(), "{repaired:?}");

    let path = fixture.options.store().with_file_name("replicas.json.history");
    eventually("the history is written", async || {
        let lines = fs::read_to_string(&path).map_or(0, |text| text.lines().count());
        if lines >= 3 { Ok(()) } else { Err(lines) }
    })
    .await;
    let fixture = fixture.restart(async |_| ()).await;
    assert_eq!(fixture.events(&[]).await, before);
    let answer = fixture.wait_for("web", |answer| answer.state() == DeploymentState::InSync).await;
    assert_eq!((answer.drift_count, &*answer.last_drift.unwrap().by), (1, "kubectl"));

    fixture.drift(8, 3).await;
    let drifts = fixture.events(&[EventType::EventDrifted]).await;
    assert_eq!(drifts.iter().map(|drift| drift.times).collect::<Vec<_>>(), [2, 1]);
    assert!(drifts[0].id > before[0].id, "{drifts:?}");
}

#[tokio::test]
async fn pages_are_complete() {
    let mut fixture = Fixture::new().await;
    fixture.create("web", 1).await;
    for count in 1..=7 {
        fixture.set("web", count).await;
    }
    eventually("all are in the history", async || {
        let sets = fixture.events(&[EventType::EventSet]).await.len();
        if sets == 7 { Ok(()) } else { Err(sets) }
    })
    .await;
    let (mut request, mut counts) = (proto::ListEventsRequest::default(), Vec::new());
    request.namespace.clone_from(&fixture.namespace);
    (request.page_size, request.types) = (3, vec![EventType::EventSet.into()]);
    loop {
        let page = fixture.client.list_events(request.clone()).await.unwrap().into_inner();
        counts.push(page.events.iter().filter_map(|event| event.to).collect::<Vec<_>>());
        if page.next_page_token.is_empty() {
            break;
        }
        request.page_token = page.next_page_token;
    }
    assert_eq!(counts, [vec![7, 6, 5], vec![4, 3, 2], vec![1]]);
}

#[tokio::test]
async fn a_stream_shows_what_happens_until_the_server_ends() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    let (mut all, snapshot) = fixture.watch(&[]).await;
    assert_eq!(snapshot, ["web"]);
    let (mut deletions, _) = fixture.watch(&[EventType::EventDeleted]).await;
    fixture.drift(7, 3).await;
    let drifted = next(&mut all).await;
    assert_eq!(drifted.r#type(), EventType::EventDrifted);
    check_drifted(&drifted);
    assert_eq!(next(&mut all).await.r#type(), EventType::EventRepaired);
    fixture.delete_setting("web").await;
    for stream in [&mut all, &mut deletions] {
        let deleted = next(stream).await;
        assert_eq!((deleted.r#type(), &*deleted.by), (EventType::EventDeleted, "client"));
    }
    let metrics = fixture.manager.metrics().await.unwrap();
    assert!(metrics.contains("replica_count_manager_watch_streams 2\n"), "{metrics}");

    let ended = tokio::spawn(async move { (all.message().await, deletions.message().await) });
    assert!(fixture.manager.terminate().await.unwrap().success());
    let (one, other) = ended.await.unwrap();
    for ended in [one, other] {
        let status = ended.unwrap_err();
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        assert_eq!(status.get_details_error_info().unwrap().reason, "SHUTTING_DOWN");
    }
}

/// A disk of which the history leaves all to the settings.
const SMALL_DISK: &str = r#"mount -t tmpfs -o size=256k none "$0" && exec "$@""#;

#[tokio::test]
async fn a_disk_without_room_for_the_history_loses_no_set() {
    let control_plane = shared().await;
    let options = options(control_plane, &Scope::Cluster, &[]).await;
    let disk = options.store().with_file_name("disk");
    fs::create_dir(&disk).unwrap();
    let launcher = ["unshare", "--map-root-user", "--mount", "sh", "-c", SMALL_DISK];
    let options = options
        .through(launcher.map(Path::new).into_iter().chain([&*disk]))
        .argument("--file-path")
        .argument(disk.join("replicas.json"));
    let mut fixture = Fixture::with_options(control_plane, options).await;
    fixture.create_managed("web", 3).await;
    fixture.drift(7, 3).await;
    for count in 4..=20 {
        fixture.set("web", count).await;
    }
    fixture.wait_for_count("web", 20).await;
    assert_eq!(fixture.events(&[EventType::EventDrifted]).await.len(), 1);
    let log = fixture.manager.log();
    let lines = log.iter().filter(|line| line.contains("the history cannot be written"));
    assert_eq!(lines.count(), 1, "{log:#?}");
    let metrics = fixture.manager.metrics().await.unwrap();
    assert!(!metrics.contains("history_write_failures_total 0\n"), "{metrics}");
    let files = fs::read_dir(format!("/proc/{}/root{}", fixture.manager.pid(), disk.display())).unwrap();
    let mut files: Vec<_> = files.map(|file| file.unwrap().file_name()).collect();
    files.sort();
    assert_eq!(files, ["replicas.json", "replicas.json.lock"]);
}
