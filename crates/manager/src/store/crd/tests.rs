//! Tests against an API server that answers as each test says.

use std::convert::Infallible;
use std::sync::{Arc, Mutex, OnceLock};
use std::thread;
use std::time::Duration;

use futures_util::FutureExt as _;
use http::{Method, Request, Response};
use jiff::Timestamp;
use kube::Client;
use kube::client::Body;
use replica_count_core::change::{Action, Change, ChangeError, Changed, Existing};
use replica_count_core::replicas::Replicas;
use replica_count_core::target::Target;
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

use super::entry::Rules;
use super::kept::{Author, Kept};
use super::open::open;
use super::queue::QUEUE_CHANGES;
use super::writer::Writer;
use crate::history::shared::Told;
use crate::kubernetes::replica_count::{ObjectKey, ReplicaCount};
use crate::kubernetes::watch::Sink as _;
use crate::store::Store;
use crate::store::error::{BackendReason, StoreError};
use crate::store::feed::Subscriber;

/// The objects, the requests so far, and what happens at each.
struct Server {
    kept: OnceLock<Arc<Kept>>,
    requests: Mutex<Vec<Method>>,
    answer: Answer,
}

/// The status code and the body of the answer to a request, of which so many were before.
type Answer = Box<dyn Fn(&Server, &Method, usize) -> (u16, Value) + Send + Sync>;

impl Server {
    fn kept(&self) -> &Kept {
        self.kept.get().unwrap()
    }

    fn requests(&self) -> Vec<Method> {
        self.requests.lock().unwrap().clone()
    }

    fn respond(&self, request: &Request<Body>) -> Response<Body> {
        if !request.uri().path().contains("/namespaces/") {
            return Response::new(Body::from(installed().to_string().into_bytes()));
        }
        let before = self.requests.lock().unwrap().len();
        self.requests.lock().unwrap().push(request.method().clone());
        let (code, body) = (self.answer)(self, request.method(), before);
        Response::builder().status(code).body(Body::from(body.to_string().into_bytes())).unwrap()
    }
}

/// A store in which `objects` were read.
fn start(
    objects: &[ReplicaCount],
    answer: impl Fn(&Server, &Method, usize) -> (u16, Value) + Send + Sync + 'static,
) -> (Store, Arc<Server>, Writer) {
    let server =
        Arc::new(Server { kept: OnceLock::new(), requests: Mutex::default(), answer: Box::new(answer) });
    let asked = Arc::clone(&server);
    let service = tower::service_fn(move |request: Request<Body>| {
        let answer = asked.respond(&request);
        async move { Ok::<_, Infallible>(answer) }
    });
    let (mirror, handle, unstarted) = open(Rules::NONE);
    let (kept, sink, writer) = unstarted.start(Client::new(service, "default"), Box::new(|_: &Changed| {}));
    assert!(server.kept.set(kept).is_ok());
    sink.begin_listing();
    for object in objects {
        sink.apply(object.clone()).unwrap();
    }
    sink.end_listing("1");
    (Store { mirror, backend: Arc::new(handle) }, server, writer)
}

/// An answer to any question about what the API server knows.
fn installed() -> Value {
    json!({ "versions": [{ "version": "v1alpha1" }], "resources": [{ "name": "replicacounts" }] })
}

fn object(uid: &str, version: u64, spec: &Value) -> ReplicaCount {
    serde_json::from_value(json(uid, version, spec)).unwrap()
}

fn json(uid: &str, version: u64, spec: &Value) -> Value {
    let metadata = json!({
        "namespace": "shop", "name": "web", "uid": uid, "resourceVersion": version.to_string(), "generation": 1,
        "creationTimestamp": "2026-01-01T00:00:00Z",
    });
    json!({ "metadata": metadata, "spec": spec })
}

/// The answer that says that an object does not exist.
fn not_found() -> (u16, Value) {
    (404, json!({ "kind": "Status", "message": "not found", "details": { "kind": "replicacounts" } }))
}

fn key() -> ObjectKey {
    ObjectKey { namespace: "shop".into(), name: "web".into() }
}

fn web() -> Target {
    Target::deployment("shop", "web").unwrap()
}

fn change(expected_generation: Option<u64>, action: Action) -> Change {
    let at = Timestamp::UNIX_EPOCH;
    Change { expected_generation, existing: Existing::Any, by: "ann".to_owned(), at, action }
}

fn set(replicas: i32) -> Action {
    Action::Set { replicas: Replicas::new(replicas).unwrap(), until: None, reason: None }
}

/// Applies a change while the writer runs.
async fn apply(store: &Store, writer: Writer, change: Change) -> Result<Changed, StoreError> {
    tokio::select! {
        changed = store.apply(web(), change) => changed,
        ended = writer.run() => panic!("{ended:?}"),
    }
}

/// Created anew while the API server is asked for the object before.
#[tokio::test(start_paused = true)]
async fn an_object_that_came_while_another_was_read_stays() {
    let old = object("1", 1, &json!({ "replicas": 3 }));
    let (store, server, writer) = start(&[old], |server, method, _| {
        if *method == Method::GET && server.kept().view(&key()).is_some_and(|view| *view.uid == *"1") {
            server.kept().remove(&object("1", 2, &json!({ "replicas": 3 })));
            server.kept().observe(&object("2", 3, &json!({ "replicas": 4 })));
        }
        not_found()
    });
    let refused = apply(&store, writer, change(Some(7), set(5))).await.expect_err("another generation");
    assert_eq!(refused, StoreError::Change(ChangeError::Generation { expected: 7, actual: 1 }));
    assert_eq!(server.kept().view(&key()).map(|view| view.uid), Some("2".into()));
    assert!(!server.requests().is_empty());
}

/// A change of which the first request had no answer, and the second one was refused.
fn check_uncertain(
    objects: &[ReplicaCount],
    action: Action,
    refusal: (u16, Value),
) -> impl Future<Output = ()> {
    let (store, server, writer) = start(objects, move |_, _, before| match before {
        0 => (504, Value::Null),
        _ => refusal.clone(),
    });
    async move {
        let outcome = apply(&store, writer, change(None, action)).await.expect_err("not stored for sure");
        assert_eq!(outcome.backend_reason(), Some(BackendReason::Uncertain), "{outcome:?}");
        assert_eq!(server.requests().len(), 2);
    }
}

#[tokio::test(start_paused = true)]
async fn a_refusal_says_nothing_about_an_earlier_request() {
    let known = [object("1", 1, &json!({ "replicas": 3 }))];
    let refused = json!({ "kind": "Status", "message": "denied the request" });
    let forbidden =
        json!({ "kind": "Status", "message": "User \"x\" cannot patch resource \"replicacounts\"" });
    let no_namespace =
        json!({ "kind": "Status", "message": "not found", "details": { "kind": "namespaces" } });
    let not_installed = json!({ "kind": "Status", "message": "404 page not found" });
    for refusal in [(422, refused), (403, forbidden), (404, no_namespace), (404, not_installed)] {
        check_uncertain(&known, set(5), refusal.clone()).await;
        check_uncertain(&known, Action::Delete, refusal.clone()).await;
        check_uncertain(&[], set(5), refusal).await;
    }
}

/// Of two changes of one workload, the second one waits for the first one, which takes all of its time.
#[tokio::test(start_paused = true)]
async fn a_change_that_waited_too_long_is_not_begun() {
    let known = [object("1", 1, &json!({ "replicas": 3 }))];
    let (store, server, writer) = start(&known, |_, _, _| (504, Value::Null));
    let both = async {
        tokio::join!(
            store.apply(web(), change(None, set(5))),
            store.apply(web(), change(None, Action::Delete))
        )
    };
    let (first, second) = tokio::select! {
        both = both => both,
        ended = writer.run() => panic!("{ended:?}"),
    };
    let reasons = [first, second].map(|outcome| outcome.expect_err("no answer").backend_reason());
    assert_eq!(reasons, [Some(BackendReason::Uncertain), Some(BackendReason::Busy)]);
    assert!(!server.requests().contains(&Method::DELETE));
}

#[tokio::test(start_paused = true)]
async fn a_change_that_nobody_waits_for_is_not_begun() {
    let known = [object("1", 1, &json!({ "replicas": 3 }))];
    let (store, server, writer) = start(&known, |_, _, _| (504, Value::Null));
    drop(store.apply(web(), change(None, set(5))).now_or_never());
    store.close().await;
    let _ = writer.run().await;
    assert_eq!(server.requests(), [] as [Method; 0]);
}

#[tokio::test(start_paused = true)]
async fn no_more_changes_wait_than_the_answer_says() {
    let (store, _server, writer) = start(&[], |_, _, _| (504, Value::Null));
    let submit = || Box::pin(store.apply(web(), change(None, set(5))));
    let mut waiting: Vec<_> = (0..QUEUE_CHANGES).map(|_| submit()).collect();
    for one in &mut waiting {
        assert!(one.as_mut().now_or_never().is_none());
    }
    let mut run = Box::pin(writer.run());
    assert!(run.as_mut().now_or_never().is_none());
    // The writer has begun with one of them, and the others wait for it.
    let mut next = submit();
    assert!(next.as_mut().now_or_never().is_none());
    let refused = submit().now_or_never().expect("an answer").expect_err("too many");
    assert_eq!(refused.backend_reason(), Some(BackendReason::Busy));
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_accepts_what_a_change_accepts() {
    let known = [object("1", 1, &json!({ "replicas": 300 }))];
    let (store, ..) = start(&known, |_, _, _| (504, Value::Null));
    let checked = store.check(&web(), &change(Some(1), set(5))).expect("a new count replaces it");
    assert_eq!(checked.after.map(|after| (after.replicas.get(), after.generation)), Some((5, 2)));
}

/// An object that is for no workload has the name that is tried first.
#[tokio::test(start_paused = true)]
async fn an_object_without_a_valid_target_takes_nothing_but_its_name() {
    let invalid = json!({ "replicas": 3, "target": { "name": "Web" } });
    let (store, server, writer) = start(&[object("1", 1, &invalid)], |_, method, _| {
        let mut created = json("2", 2, &json!({ "replicas": 5, "target": { "name": "web" } }));
        created["metadata"]["name"] = "web-2".into();
        if *method == Method::POST { (201, created) } else { not_found() }
    });
    let view = server.kept().view(&key()).expect("it is known");
    assert!(view.target.is_none() && view.setting.is_none() && view.not_enforced.is_some());
    let stored = apply(&store, writer, change(Some(0), set(5))).await.expect("stored").after;
    assert_eq!(stored.map(|after| after.replicas.get()), Some(5));
    assert_eq!(server.requests(), [Method::POST]);
    server.kept().remove(&object("1", 3, &invalid));
    assert!(server.kept().view(&key()).is_none());
}

#[tokio::test(start_paused = true)]
async fn an_object_that_could_not_be_read_is_read_again() {
    let (_store, server, writer) = start(&[], |_, _, before| match before {
        0..3 => (503, Value::Null),
        _ => not_found(),
    });
    // Written by this server, and not in the next listing.
    let kept = server.kept();
    kept.record_answer(&object("1", 1, &json!({ "replicas": 3 })), &Author::default());
    kept.begin_listing();
    kept.end_listing(2);
    let gone = async {
        while kept.view(&key()).is_some() {
            sleep(Duration::from_millis(100)).await;
        }
    };
    tokio::select! {
        ended = timeout(Duration::from_secs(10), gone) => ended.expect("read again"),
        ended = writer.run() => panic!("{ended:?}"),
    }
    assert_eq!(server.requests().len(), 4);
}

/// Collects what a subscriber is told.
#[derive(Clone, Default)]
struct Heard(Arc<Mutex<Vec<String>>>);

impl Heard {
    fn hear(&self, what: String) {
        self.0.lock().unwrap().push(what);
    }

    fn take(&self) -> Vec<String> {
        std::mem::take(&mut self.0.lock().unwrap())
    }
}

impl Subscriber for Heard {
    fn changed(&self, changed: &Changed) {
        self.hear(format!("changed {}", changed.target));
    }

    fn told(&self, told: Told) {
        let ids: Vec<_> = told.entries.iter().map(|entry| entry.id).collect();
        self.hear(format!("told {ids:?} {}", if told.is_news { "now" } else { "before" }));
    }

    fn shown(&self, version: u64) {
        self.hear(format!("shown {version}"));
    }

    fn listed(&self, version: u64) {
        self.hear(format!("listed {version}"));
    }
}

/// An object that tells one entry.
fn telling(version: u64, replicas: i32, id: u64) -> ReplicaCount {
    let mut json = json("1", version, &json!({ "replicas": replicas }));
    let line = json!({ "id": id, "at": "2026-01-01T00:00:00Z", "what": "set" });
    json["status"] = json!({ "history": [line.to_string()] });
    serde_json::from_value(json).unwrap()
}

#[tokio::test]
async fn a_listing_is_as_new_as_it_says() {
    let (_mirror, _handle, unstarted) = open(Rules::NONE);
    let service =
        tower::service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::empty())) });
    let heard = Heard::default();
    let (_kept, sink, _writer) = unstarted.start(Client::new(service, "default"), Box::new(heard.clone()));
    sink.begin_listing();
    sink.apply(telling(90, 3, 7)).unwrap();
    // Something was deleted since.
    sink.end_listing("120");
    assert_eq!(heard.take(), ["told [7] before", "listed 120"]);
    // A change is seen before an object tells it.
    sink.apply(telling(130, 4, 8)).unwrap();
    assert_eq!(heard.take(), ["changed shop/web", "told [8] now", "shown 130"]);
}

/// Memory cannot be filled while somebody reads it.
#[test]
fn nothing_is_read_before_memory_is_filled() {
    let (mirror, handle, unstarted) = open(Rules::NONE);
    let runtime = tokio::runtime::Builder::new_current_thread().build().unwrap();
    let _entered = runtime.enter();
    let service =
        tower::service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::empty())) });
    let client = Client::new(service, "default");
    let (_kept, sink, _writer) = unstarted.start(client, Box::new(|_: &Changed| {}));
    let reading = mirror.read();
    let listing = thread::spawn(move || sink.end_listing("1"));
    while handle.objects.try_lock().is_ok() {
        thread::yield_now();
    }
    // It needs no more turns than this to get to the memory.
    for _ in 0..10_000 {
        thread::yield_now();
        assert!(!handle.reading.is_read());
    }
    drop(reading);
    listing.join().unwrap();
    assert!(handle.reading.is_read());
}
