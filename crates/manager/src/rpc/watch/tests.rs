//! Streams without a network: a snapshot in pages, filters, and how streams end.

use std::convert::Infallible;
use std::fs;

use futures_util::StreamExt as _;
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use replica_count_core::event::{Event, EventKind};
use replica_count_core::history::entry::What;
use replica_count_core::history::sample::sample;
use replica_count_core::history::{Bounds, History};
use replica_count_core::replicas::Replicas;
use replica_count_core::target::Target;
use tempfile::TempDir;
use tokio_util::sync::CancellationToken;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::*;
use crate::history;
use crate::history::shared::{Recorder, SharedHistory, Told};
use crate::leadership::Leadership;
use crate::rpc::authorize::Authorizer;
use crate::store::Store;

struct Scene {
    context: Arc<Context>,
    recorder: Recorder,
    _folder: TempDir,
}

impl Scene {
    /// A server with as many settings, of which nothing is observed.
    fn new(settings: usize) -> Self {
        Self::with_history(settings, history::in_memory(Bounds::DEFAULT))
    }

    fn with_history(settings: usize, (history, recorder): (SharedHistory, Recorder)) -> Self {
        let folder = TempDir::new().unwrap();
        let path = folder.path().join("replicas.json");
        let entries = (0..settings).map(
            |n| serde_json::json!({ "name": format!("web-{n:04}"), "namespace": "shop", "replicas": 3 }),
        );
        fs::write(&path, entries.collect::<serde_json::Value>().to_string()).unwrap();
        let (store, _committer) = Store::open_file(&path).unwrap();
        let refuse =
            |_: http::Request<Body>| async { Ok::<_, Infallible>(http::Response::new(Body::empty())) };
        let context = Context {
            leadership: Leadership::default(),
            store,
            authorizer: Authorizer::always_allow(),
            cluster: Arc::default(),
            records: Arc::default(),
            policy: Arc::default(),
            guards: Arc::default(),
            history,
            ending: CancellationToken::new(),
            max_replicas: Replicas::MAX,
            client: Client::new(tower::service_fn(refuse), "default"),
            traces: crate::traces::Traces::default(),
            lists: crate::rpc::list_queue::ListQueue::default(),
        };
        Self { context: Arc::new(context), recorder, _folder: folder }
    }

    fn watch(&self, request: proto::WatchDeploymentsRequest) -> Messages {
        let caller = Caller::of(&tonic::Request::new(()));
        watch(&self.context, caller, WatchRequest::parse(request).unwrap(), None)
    }

    fn happen(&mut self, namespace: &str, kind: EventKind) {
        let target = Target::deployment(namespace, "web").unwrap();
        self.recorder.record(&Event { target, at: Timestamp::UNIX_EPOCH, generation: Some(1), kind });
    }

    /// How many streams there are.
    fn streams(&self) -> i64 {
        self.context.history.metrics().watchers.get()
    }
}

async fn message(stream: &mut Messages) -> proto::WatchDeploymentsResponse {
    stream.next().await.unwrap().unwrap()
}

async fn check_end(mut stream: Messages, code: Code, reason: &str) {
    let status = stream.next().await.unwrap().unwrap_err();
    assert_eq!((status.code(), status.get_details_error_info().unwrap().reason.as_str()), (code, reason));
    assert!(stream.next().await.is_none());
}

#[tokio::test]
async fn a_snapshot_has_all_rows_in_several_messages() {
    let scene = Scene::new(1100);
    let mut stream = scene.watch(proto::WatchDeploymentsRequest::default());
    let mut names = Vec::new();
    for expected in [(500, false), (500, false), (100, true)] {
        let page = message(&mut stream).await;
        assert_eq!((page.rows.len(), page.snapshot_complete), expected);
        names.extend(page.rows.into_iter().map(|row| row.name));
    }
    assert!(names.is_sorted());
    names.dedup();
    assert_eq!(names.len(), 1100);
}

#[tokio::test]
async fn events_during_the_snapshot_and_after_it_are_sent_if_they_are_wanted() {
    let mut scene = Scene::new(1);
    let namespace = "shop".to_owned();
    let types = vec![proto::EventType::EventCalmed.into()];
    let request = proto::WatchDeploymentsRequest { namespace, types, ..Default::default() };
    let mut stream = scene.watch(request);
    scene.happen("shop", EventKind::Calmed);
    assert!(message(&mut stream).await.snapshot_complete);
    scene.happen("other", EventKind::Calmed);
    scene.happen("shop", EventKind::Missing);
    scene.happen("shop", EventKind::Calmed);
    for expected in [1, 4] {
        assert_eq!(message(&mut stream).await.event.unwrap().id, expected);
    }
    assert_eq!(scene.streams(), 1);
    scene.context.ending.cancel();
    check_end(stream, Code::Unavailable, "SHUTTING_DOWN").await;
    assert_eq!(scene.streams(), 0);
}

#[tokio::test]
async fn a_client_that_reads_too_slowly_is_told_and_holds_up_nobody() {
    let mut scene = Scene::new(1);
    let [mut slow, mut fast] = [(); 2].map(|()| scene.watch(proto::WatchDeploymentsRequest::default()));
    assert!(message(&mut slow).await.snapshot_complete && message(&mut fast).await.snapshot_complete);
    for id in 1..=20_000 {
        scene.happen("shop", EventKind::Calmed);
        assert_eq!(message(&mut fast).await.event.unwrap().id, id);
    }
    check_end(slow, Code::ResourceExhausted, "EVENTS_MISSED").await;
    assert_eq!((scene.streams(), scene.context.history.metrics().too_slow.get()), (1, 1));
}

/// Watches where an earlier stream has ended.
fn resume(scene: &Scene, token: &str) -> Messages {
    scene.watch(proto::WatchDeploymentsRequest { resume_token: token.to_owned(), ..Default::default() })
}

#[tokio::test]
async fn a_stream_goes_on_where_another_one_has_ended() {
    let mut scene = Scene::new(1);
    let mut stream = scene.watch(proto::WatchDeploymentsRequest::default());
    let begin = message(&mut stream).await.resume_token;
    for _ in 0..3 {
        scene.happen("shop", EventKind::Calmed);
    }
    let after_one = message(&mut stream).await.resume_token;
    for (token, expected) in [(&begin, vec![1, 2, 3]), (&after_one, vec![2, 3])] {
        let mut stream = resume(&scene, token);
        let first = message(&mut stream).await;
        assert!(first.resumed && first.snapshot_complete && first.rows.is_empty(), "{first:?}");
        for (n, id) in expected.iter().enumerate() {
            let message = message(&mut stream).await;
            assert_eq!(message.event.map(|event| event.id), Some(*id));
            assert_eq!(message.resume_token.is_empty(), n + 1 < expected.len());
        }
        scene.context.history.read(|history| assert_eq!(history.len(), 3));
    }
    // What the client does not want counts as read.
    drop(stream);
    let mut stream = resume(&scene, &after_one);
    scene.context.ending.cancel();
    for _ in 0..3 {
        message(&mut stream).await;
    }
    let status = stream.next().await.unwrap().unwrap_err();
    let token = status.get_details_error_info().unwrap().metadata["ResumeToken"].clone();
    assert_eq!(token.parse().ok(), Some(scene.context.history.read(History::position)));
    let first = message(&mut resume(&scene, &token)).await;
    assert!(first.resumed && first.resume_token == token, "{first:?}");
}

#[tokio::test]
async fn a_token_that_says_nothing_gets_a_snapshot() {
    let mut scene = Scene::new(1);
    let begin = message(&mut scene.watch(proto::WatchDeploymentsRequest::default())).await.resume_token;
    for _ in 0..150 {
        scene.happen("shop", EventKind::Calmed);
    }
    for token in ["nonsense", "1.7000.5.0", &begin] {
        let mut stream = resume(&scene, token);
        let first = message(&mut stream).await;
        assert!(!first.resumed && first.rows.len() == 1 && first.snapshot_complete, "{first:?}");
        scene.happen("shop", EventKind::Missing);
        assert_eq!(message(&mut stream).await.event.unwrap().r#type(), proto::EventType::EventMissing);
    }
}

#[tokio::test]
async fn what_another_server_has_told_is_shown_once() {
    let mut scene = Scene::with_history(1, history::in_objects(Bounds::DEFAULT));
    scene.recorder.record_listed(10);
    let mut stream = scene.watch(proto::WatchDeploymentsRequest::default());
    let begin = message(&mut stream).await.resume_token;
    let target = Target::deployment("shop", "web").unwrap();
    let entry = |id| Entry { id, ..sample("shop", "web", What::Drifted) };
    let told = |ids: &[u64], missing, version| Told {
        target: target.clone(),
        entries: ids.iter().map(|id| entry(*id)).collect(),
        missing,
        version,
        is_latest: true,
        is_news: true,
    };
    scene.recorder.adopt(told(&[1000, 1001], 0, 11));
    scene.recorder.adopt(told(&[1001, 1002], 0, 12));
    let mut tokens = Vec::new();
    for id in [1000, 1001, 1002] {
        let message = message(&mut stream).await;
        assert_eq!(message.event.map(|event| event.id), Some(id));
        tokens.push(message.resume_token);
    }
    for (token, expected) in [(&begin, 1000), (&tokens[0], 1000), (&tokens[1], 1002)] {
        let mut stream = resume(&scene, token);
        assert!(message(&mut stream).await.resumed);
        assert_eq!(message(&mut stream).await.event.unwrap().id, expected);
    }
    // The client has got this one from the server that has recorded it.
    let mut ahead = resume(&scene, "3e8.3eb.0.c");
    assert!(message(&mut ahead).await.resumed);
    scene.recorder.adopt(told(&[1003, 1004], 0, 13));
    assert_eq!(message(&mut ahead).await.event.unwrap().id, 1004);

    scene.recorder.adopt(told(&[1009], 1007, 14));
    check_end(ahead, Code::ResourceExhausted, "EVENTS_MISSED").await;
    assert!(!message(&mut resume(&scene, &tokens[2])).await.resumed);
}
