//! Tests the reconciler with answers that a real API server gives only in extreme situations. The API server here is a
//! mock: a function from the number of a write to an answer. The testbed tests the reconciler with real ones.

use std::convert::Infallible;
use std::future::pending;
use std::num::NonZeroU64;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::{fs, io};

use bytes::Bytes;
use http::{Method, Request, Response, header};
use kube::Client;
use kube::client::Body;
use prometheus_client::registry::Registry;
use replica_count_core::autoscalers::Autoscaler;
use replica_count_core::change::{Action, Change, Changed, Existing};
use replica_count_core::damping::REFILL;
use replica_count_core::failures::BACKOFF;
use replica_count_core::history::Bounds;
use replica_count_core::kind::Kind;
use replica_count_core::observed::Observed;
use replica_count_core::replicas::Replicas;
use replica_count_wire::Envelope;
use replica_count_wire::messages::Scale;
use serde_json::json;
use tempfile::TempDir;
use tokio::task::JoinHandle;
use tokio::time::sleep;

use super::*;
use crate::history;
use crate::reconcile::metrics::ReconcileMetrics;
use crate::reconcile::report::report;
use crate::store::Store;
use crate::traces::Traces;
use crate::work::Work;

/// Long enough for all due work.
const MOMENT: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const DESIRED: i32 = 3;
const FOUND: i32 = 5;

/// The answer of the mock to a write.
#[derive(Clone, Copy)]
enum Answer {
    /// The desired count was stored.
    Written,
    /// Admission has stored another count.
    Stored(i32),
    Status(u16),
    Throttled(Duration),
    Never,
}

/// The writes that the mock received.
#[derive(Debug, Default)]
struct Writes {
    at: Mutex<Vec<Instant>>,
    in_flight: AtomicUsize,
    max_in_flight: AtomicUsize,
}

/// A write in flight, until it is dropped.
struct InFlight(Arc<Writes>);

impl Drop for InFlight {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Writes {
    /// Records another write; returns how many there were before.
    fn begin(self: &Arc<Self>) -> (usize, InFlight) {
        let in_flight = self.in_flight.fetch_add(1, Ordering::SeqCst) + 1;
        self.max_in_flight.fetch_max(in_flight, Ordering::SeqCst);
        let mut at = self.at.lock().unwrap();
        at.push(Instant::now());
        (at.len() - 1, InFlight(Arc::clone(self)))
    }
}

/// The log, at level `warn` and above.
#[derive(Clone, Debug, Default)]
struct Log(Arc<Mutex<Vec<u8>>>);

impl io::Write for Log {
    fn write(&mut self, text: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(text);
        Ok(text.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A reconciler that runs with drifted targets.
struct Fixture {
    writes: Arc<Writes>,
    cluster: Arc<Cluster>,
    work: Arc<Work>,
    records: Arc<Records>,
    metrics: ReconcileMetrics,
    log: Log,
    _logging: tracing::subscriber::DefaultGuard,
    _folder: TempDir,
    shutdown: CancellationToken,
    running: JoinHandle<()>,
}

impl Fixture {
    fn start(targets: usize, answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Self {
        let log = Log::default();
        let writer = log.clone();
        let logging = tracing_subscriber::fmt()
            .with_max_level(tracing::Level::WARN)
            .with_ansi(false)
            .with_writer(move || writer.clone())
            .finish();
        let folder = TempDir::new().unwrap();
        let (store, cluster, records) =
            (store(&folder, targets), Arc::<Cluster>::default(), Arc::<Records>::default());
        for n in 0..targets {
            cluster.insert(target(n), observed(1, FOUND));
            records.insert_stored(target(n), count(DESIRED));
        }
        cluster.end_listing(Kind::Deployment);
        let (writes, work) = (Arc::<Writes>::default(), Arc::<Work>::default());
        let (report, reporter) =
            report(history::in_memory(Bounds::DEFAULT).1, Traces::default(), Leadership::default(), None);
        tokio::spawn(reporter.run(CancellationToken::new()));
        let (metrics, shutdown) = (report.metrics.clone(), CancellationToken::new());
        let reconciler = Reconciler {
            cluster: Arc::clone(&cluster),
            marker: Marker { store, work: Arc::clone(&work) },
            records: Arc::clone(&records),
            policy: Arc::default(),
            guards: Arc::default(),
            leadership: Leadership::default(),
            term: AtomicU64::default(),
            scales: Scales::new(mock(Arc::clone(&writes), answer), Leadership::default()),
            report,
            statuses: None,
        };
        Self {
            writes,
            cluster,
            work,
            records,
            metrics,
            log,
            _logging: tracing::subscriber::set_default(logging),
            _folder: folder,
            running: tokio::spawn(reconciler.run(shutdown.clone())),
            shutdown,
        }
    }

    /// The watch shows a drift.
    fn drift(&self, n: usize) {
        self.cluster.insert(target(n), observed(version(self.writes()) - 1, FOUND));
        self.work.mark(target(n));
    }

    /// How many writes were received.
    fn writes(&self) -> usize {
        self.writes.at.lock().unwrap().len()
    }

    /// How many targets have an autoscaler, and how many of the others are contested.
    fn conflicts(&self) -> (usize, usize) {
        let counts = self.records.count_conflicts();
        (counts.autoscaled, counts.contested)
    }

    /// How many writes are in flight.
    fn in_flight(&self) -> usize {
        self.writes.in_flight.load(Ordering::SeqCst)
    }

    /// The times between consecutive writes.
    fn gaps(&self) -> Vec<Duration> {
        self.writes.at.lock().unwrap().windows(2).map(|pair| pair[1].duration_since(pair[0])).collect()
    }

    fn warnings(&self) -> Vec<String> {
        let log = self.log.0.lock().unwrap();
        String::from_utf8_lossy(&log).lines().map(str::to_owned).collect()
    }

    #[track_caller]
    fn assert_metric(&self, expected: &str) {
        let mut registry = Registry::default();
        self.metrics.register(&mut registry);
        let mut text = String::new();
        prometheus_client::encoding::text::encode(&mut text, &registry).unwrap();
        assert!(text.lines().any(|line| line == expected), "{expected} is not in {text}");
    }
}

fn count(n: i32) -> Replicas {
    Replicas::new(n).unwrap()
}

fn target(n: usize) -> Target {
    Target::deployment("ns", &format!("web-{n}")).unwrap()
}

fn observed(version: u64, replicas: i32) -> Observed {
    let (resource_version, replicas) = (NonZeroU64::new(version), count(replicas));
    Observed {
        uid: "u".into(),
        resource_version,
        replicas,
        ready: 0,
        ready_before: 0,
        deleting: false,
        owner: None,
    }
}

/// The resource version of a write.
fn version(number: usize) -> u64 {
    100 * (number as u64 + 1)
}

/// A Set of the first target.
fn set(replicas: i32) -> Changed {
    let action = Action::Set { replicas: count(replicas), until: None, reason: None };
    let (by, at) = ("alice".to_owned(), clock::now().wall);
    Change { expected_generation: None, existing: Existing::Any, by, at, action }
        .apply(target(0).into(), None)
        .unwrap()
}

fn store(folder: &TempDir, targets: usize) -> Store {
    let settings: Vec<String> = (0..targets)
        .map(|n| {
            let set_at = "2026-01-01T00:00:00Z";
            format!(r#"{{"name":"web-{n}","namespace":"ns","replicas":{DESIRED},"setAt":"{set_at}"}}"#)
        })
        .collect();
    let path = folder.path().join("replicas.json");
    fs::write(&path, format!("[{}]", settings.join(","))).unwrap();
    Store::open_file(&path).unwrap().0
}

/// The count in an update, a server-side apply or a JSON Patch.
fn written_count(method: &Method, body: Bytes) -> serde_json::Value {
    if *method == Method::PUT {
        let Scale { spec, .. } = Envelope::open(body).unwrap().object().unwrap();
        return spec.unwrap().replicas.into();
    }
    let body: serde_json::Value = serde_json::from_slice(&body).unwrap();
    if body.is_object() { body["spec"]["replicas"].clone() } else { body[2]["value"].clone() }
}

fn mock(writes: Arc<Writes>, answer: impl Fn(usize) -> Answer + Send + Sync + 'static) -> Client {
    let answer = Arc::new(answer);
    let service = tower::service_fn(move |request: Request<Body>| {
        let method = request.method().clone();
        assert!([Method::PUT, Method::PATCH].contains(&method), "nothing but writes: {}", request.uri());
        let (number, in_flight) = writes.begin();
        let answer = answer(number);
        async move {
            let _in_flight = in_flight;
            let body = request.into_body().collect_bytes().await.unwrap();
            let scale = |replicas: &serde_json::Value| {
                let metadata = json!({ "resourceVersion": version(number).to_string() });
                json!({ "metadata": metadata, "spec": { "replicas": replicas } }).to_string()
            };
            let response = match answer {
                Answer::Written => Response::builder().body(scale(&written_count(&method, body))),
                Answer::Stored(replicas) => Response::builder().body(scale(&replicas.into())),
                Answer::Status(status) => {
                    let message = r#"User "x" cannot patch resource "deployments/scale""#;
                    Response::builder().status(status).body(json!({ "message": message }).to_string())
                }
                Answer::Throttled(wait) => Response::builder()
                    .status(429)
                    .header(header::RETRY_AFTER, wait.as_secs())
                    .body("slow down".to_owned()),
                Answer::Never => pending().await,
            };
            Ok::<_, Infallible>(response.unwrap().map(|body| Body::from(body.into_bytes())))
        }
    });
    Client::new(service, "default")
}

#[tokio::test(start_paused = true)]
async fn a_missing_permission_is_reported_once_and_retried_with_backoff() {
    let fixture = Fixture::start(1, |_| Answer::Status(403));
    sleep(120 * SECOND).await;
    let (writes, gaps) = (fixture.writes(), fixture.gaps());
    assert!(gaps.len() > 10, "{gaps:?}");
    for (n, gap) in gaps.into_iter().enumerate() {
        let full = BACKOFF.base.saturating_mul(2_u32.pow(n.try_into().unwrap())).min(BACKOFF.cap);
        assert!((full / 2..=full + 2 * MOMENT).contains(&gap), "{n}: {gap:?} of {full:?}");
    }
    fixture.assert_metric(&format!("write_failures_total{{reason=\"forbidden\"}} {writes}"));
    let warnings = fixture.warnings();
    assert!(matches!(&warnings[..], [line] if line.contains("forbidden")), "{warnings:#?}");

    // A new setting does not wait.
    fixture.records.apply(&set(DESIRED));
    fixture.work.mark(target(0));
    sleep(MOMENT).await;
    assert_eq!(fixture.writes(), writes + 1);
}

#[tokio::test(start_paused = true)]
async fn a_count_that_admission_changed_is_written_again_until_it_is_stored() {
    let fixture = Fixture::start(1, |n| if n < 12 { Answer::Stored(FOUND - 1) } else { Answer::Written });
    sleep(5 * 60 * SECOND).await;
    assert_eq!(fixture.writes(), 13);
    for expected in ["write_failures_total{reason=\"altered\"} 12", "drifts_total 1", "repairs_total 1"] {
        fixture.assert_metric(expected);
    }
    let warnings = fixture.warnings();
    assert!(matches!(&warnings[..], [line] if line.contains("admission changed 3 to 4")), "{warnings:#?}");
}

#[tokio::test(start_paused = true)]
async fn writes_that_ran_out_of_time_get_more_and_block_no_others() {
    const SLOW: usize = 20;
    let is_slow = |n| n < SLOW + MAX_SLOW_WRITES;
    let fixture = Fixture::start(SLOW + 1, move |n| if is_slow(n) { Answer::Never } else { Answer::Written });
    fixture.cluster.insert(target(SLOW), observed(2, DESIRED));
    sleep(SECOND).await;
    assert_eq!(fixture.in_flight(), SLOW);
    sleep(5 * SECOND).await;
    assert_eq!(fixture.in_flight(), MAX_SLOW_WRITES);
    fixture.drift(SLOW);
    sleep(MOMENT).await;
    fixture.assert_metric("repairs_total 1");
    assert_eq!(fixture.in_flight(), MAX_SLOW_WRITES, "they have ten seconds");
    sleep(60 * SECOND).await;
    fixture.assert_metric(&format!("repairs_total {}", SLOW + 1));
    fixture.assert_metric(&format!("write_failures_total{{reason=\"deadline\"}} {}", SLOW + MAX_SLOW_WRITES));
}

#[tokio::test(start_paused = true)]
async fn retry_after_is_honoured() {
    let fixture = Fixture::start(1, |n| if n == 0 { Answer::Throttled(7 * SECOND) } else { Answer::Written });
    sleep(SECOND).await;
    // Neither a new setting nor a reconnect shortens the wait.
    fixture.records.apply(&set(DESIRED));
    assert_eq!(fixture.records.record_reconnect(Kind::Deployment), []);
    fixture.work.mark(target(0));
    sleep(10 * SECOND).await;
    let gaps = fixture.gaps();
    assert!(matches!(gaps[..], [gap] if (7 * SECOND..8 * SECOND).contains(&gap)), "{gaps:?}");
    fixture.assert_metric("repairs_total 1");
}

#[tokio::test(start_paused = true)]
async fn a_write_without_an_answer_is_retried_after_its_deadline() {
    let fixture = Fixture::start(1, |n| if n == 0 { Answer::Never } else { Answer::Written });
    sleep(10 * SECOND).await;
    let gaps = fixture.gaps();
    assert!(matches!(gaps[..], [gap] if (5 * SECOND..6 * SECOND).contains(&gap)), "{gaps:?}");
    fixture.assert_metric("write_failures_total{reason=\"deadline\"} 1");
    fixture.assert_metric("repairs_total 1");
}

#[tokio::test(start_paused = true)]
async fn a_write_that_landed_without_an_answer_resolves_the_drift() {
    let fixture = Fixture::start(1, |_| Answer::Never);
    sleep(SECOND).await;
    fixture.cluster.insert(target(0), observed(2, DESIRED));
    fixture.work.mark(target(0));
    sleep(10 * SECOND).await;
    assert_eq!(fixture.writes(), 1);
    for expected in ["drifts_total 1", "repairs_total 0", "drifts_settled_total 1"] {
        fixture.assert_metric(expected);
    }
}

#[tokio::test(start_paused = true)]
async fn persistent_staleness_backs_off_and_is_reported() {
    let fixture = Fixture::start(1, |n| if n == 0 { Answer::Written } else { Answer::Status(409) });
    sleep(MOMENT).await;
    // After two applies it is an update, which a patch follows at once.
    for (version, expected) in [(200, 2), (201, 3), (202, 5), (203, 5)] {
        fixture.cluster.insert(target(0), observed(version, FOUND));
        fixture.work.mark(target(0));
        sleep(MOMENT).await;
        assert_eq!(fixture.writes(), expected);
        assert_eq!(fixture.warnings().len(), usize::from(expected == 5), "{version}");
    }
    sleep(REFILL).await;
    assert!(fixture.writes() > 5, "it continues");
    assert_eq!(fixture.warnings().len(), 1, "and is not reported again");
}

#[tokio::test(start_paused = true)]
async fn writes_in_flight_are_limited() {
    let fixture = Fixture::start(MAX_WRITES + 8, |_| Answer::Never);
    sleep(SECOND).await;
    assert_eq!(fixture.writes(), MAX_WRITES);
    sleep(5 * SECOND).await;
    assert!(fixture.writes() > MAX_WRITES);
    assert_eq!(fixture.writes.max_in_flight.load(Ordering::SeqCst), MAX_WRITES);
}

#[tokio::test(start_paused = true)]
async fn the_end_waits_five_seconds_for_writes_of_any_deadline() {
    for (writes, wait) in [(1, SECOND), (2, 6 * SECOND), (3, 17 * SECOND)] {
        let mut fixture = Fixture::start(1, |_| Answer::Never);
        sleep(wait).await;
        assert_eq!((fixture.writes(), fixture.in_flight()), (writes, 1));
        let stopped = Instant::now();
        fixture.shutdown.cancel();
        (&mut fixture.running).await.unwrap();
        assert!(stopped.elapsed() <= WRITE_DEADLINES[0] + MOMENT, "{writes}: {:?}", stopped.elapsed());
        assert_eq!((fixture.writes(), fixture.in_flight()), (writes, 0));
    }
}

#[tokio::test(start_paused = true)]
async fn a_lost_event_is_noticed_within_five_minutes_without_a_request() {
    let fixture = Fixture::start(2, |_| Answer::Written);
    sleep(SECOND).await;
    assert_eq!(fixture.writes(), 2);
    fixture.cluster.insert(target(0), observed(200, FOUND));
    sleep(298 * SECOND).await;
    assert_eq!(fixture.writes(), 2, "nothing has marked it");
    sleep(2 * SECOND).await;
    assert_eq!(fixture.writes(), 3);
}

/// Drifts a target every 20 ms for a while.
async fn fight(fixture: &Fixture, duration: Duration) {
    let end = Instant::now() + duration;
    while Instant::now() < end {
        fixture.drift(0);
        sleep(20 * MOMENT).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_fight_is_damped_and_reported_once_until_it_ends() {
    let fixture = Fixture::start(2, |_| Answer::Written);
    fight(&fixture, 60 * SECOND).await;
    // One of them was on the other target.
    let writes = fixture.writes() - 1;
    assert!((13..=16).contains(&writes), "{writes} writes in the first minute");
    let warnings = fixture.warnings();
    let expected = ["contested target=ns/web-0", "steady conflict target=ns/web-0"];
    let is_expected = |(line, expected): (&String, &str)| line.contains(expected);
    assert_eq!(warnings.len(), expected.len(), "{warnings:#?}");
    assert!(warnings.iter().zip(expected).all(is_expected), "{warnings:#?}");
    assert_eq!(fixture.conflicts(), (0, 1));

    fixture.drift(1);
    sleep(MOMENT).await;
    assert_eq!(fixture.writes(), writes + 2, "others do not wait");

    // The fight stops, and its last drift is eventually repaired.
    sleep(400 * SECOND).await;
    assert_eq!(fixture.writes(), writes + 3);
    assert_eq!(fixture.conflicts(), (0, 1));
    sleep(600 * SECOND).await;
    assert_eq!(fixture.conflicts(), (0, 0));
    fight(&fixture, SECOND).await;
    assert_eq!(fixture.writes(), writes + 3 + 12, "with a full budget");
}

#[tokio::test(start_paused = true)]
async fn a_new_setting_ends_a_conflict() {
    let fixture = Fixture::start(1, |_| Answer::Written);
    fight(&fixture, 60 * SECOND).await;
    let writes = fixture.writes();
    for (n, desired, contested) in [(1, DESIRED, 1), (2, DESIRED + 1, 0)] {
        fixture.drift(0);
        fixture.records.apply(&set(desired));
        fixture.work.mark(target(0));
        sleep(MOMENT).await;
        assert_eq!((fixture.writes(), fixture.conflicts()), (writes + n, (0, contested)), "{desired}");
    }
}

#[tokio::test(start_paused = true)]
async fn an_autoscaler_is_reported_once_and_damped_after_the_first_repair() {
    let fixture = Fixture::start(1, |_| Answer::Written);
    sleep(SECOND).await;
    let autoscaler = Autoscaler { target: target(0), name: "HorizontalPodAutoscaler/web".into() };
    for affected in fixture.cluster.insert_autoscaler("u", Some(autoscaler)) {
        fixture.work.mark(affected);
    }
    sleep(MOMENT).await;
    assert_eq!((fixture.writes(), fixture.conflicts()), (1, (1, 0)));
    fight(&fixture, 4 * SECOND).await;
    assert_eq!(fixture.writes(), 2, "the next one waits for at least 5 seconds");
    let warnings = fixture.warnings();
    let names =
        warnings.iter().filter(|line| line.contains("autoscaler=HorizontalPodAutoscaler/web")).count();
    let contests = warnings.iter().filter(|line| line.contains("contested")).count();
    assert_eq!((names, contests, warnings.len()), (1, 1, 2), "{warnings:#?}");

    // Without the autoscaler, repairs are immediate again.
    for affected in fixture.cluster.insert_autoscaler("u", None) {
        fixture.work.mark(affected);
    }
    sleep(MOMENT).await;
    assert_eq!((fixture.writes(), fixture.conflicts()), (3, (0, 0)));
}
