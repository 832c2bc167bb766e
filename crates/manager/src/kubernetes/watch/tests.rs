//! Tests the watch with answers that a real API server gives only in extreme situations. The API server here is a mock:
//! a function from a request to an answer. The testbed tests the watch with real ones.

mod encodings;
mod pages;

use std::convert::Infallible;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response};
use kube::client::Body;
use tower::Service;

use super::*;
use crate::kubernetes::workload::Deployment;

const LISTED: &str = r#"{"type":"BOOKMARK","object":{"kind":"Deployment","apiVersion":"apps/v1","metadata":{
    "resourceVersion":"7","annotations":{"k8s.io/initial-events-end":"true"}}}}"#;
const GONE: &str =
    r#"{"type":"ERROR","object":{"kind":"Status","message":"too old","reason":"Expired","code":410}}"#;

/// Counts of requests to the mock, and of calls to the sink.
#[derive(Debug, Default)]
struct Counts {
    listings: AtomicUsize,
    windows: AtomicUsize,
    /// Completed listings.
    completed: AtomicUsize,
    recoveries: AtomicUsize,
    refusals: AtomicUsize,
    more_refusals: AtomicUsize,
}

impl Counts {
    fn of(counter: &AtomicUsize) -> usize {
        counter.load(Ordering::SeqCst)
    }
}

/// Runs the watch for a while against an API server that lists nothing and answers each window with `window`.
async fn watch(
    duration: Duration,
    window: impl Fn() -> Response<Body> + Send + Sync + 'static,
) -> Arc<Counts> {
    let counts = Arc::new(Counts::default());
    let (counted, window) = (Arc::clone(&counts), Arc::new(window));
    let service = tower::service_fn(move |request: Request<Body>| {
        let is_listing = request.uri().query().is_some_and(|query| query.contains("sendInitialEvents"));
        let (counted, window) = (Arc::clone(&counted), Arc::clone(&window));
        async move {
            let (counter, answer) =
                if is_listing { (&counted.listings, events(LISTED)) } else { (&counted.windows, window()) };
            counter.fetch_add(1, Ordering::SeqCst);
            Ok::<_, Infallible>(answer)
        }
    });
    let watch = watch_of(service, Arc::clone(&counts));
    let shutdown = CancellationToken::new();
    let _ = timeout(duration, watch.run(shutdown)).await;
    counts
}

/// A sink that counts.
struct Counting(Arc<Counts>);

impl Sink for Counting {
    type Object = Deployment;

    fn watched(&self) -> &'static str {
        "deployments"
    }

    fn begin_listing(&self) {}

    fn apply(&self, _: Deployment) -> Result<(), MalformedObject> {
        Ok(())
    }

    fn delete(&self, _: Deployment) -> Result<(), MalformedObject> {
        Ok(())
    }

    fn end_listing(&self, version: &str) -> usize {
        assert_eq!(version, "7");
        self.0.completed.fetch_add(1, Ordering::SeqCst)
    }

    fn live(&self) {}

    fn stale(&self, _: Instant) {}

    fn refused(&self, _: &str, is_first: bool) {
        let counter = if is_first { &self.0.refusals } else { &self.0.more_refusals };
        counter.fetch_add(1, Ordering::SeqCst);
    }

    fn recovered(&self) {
        self.0.recoveries.fetch_add(1, Ordering::SeqCst);
    }
}

fn watch_of<S>(service: S, counts: Arc<Counts>) -> Watch<Counting>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Send + 'static,
    S::Future: Send,
{
    Watch {
        client: Client::new(service, "default"),
        path: "/apis/apps/v1/deployments".to_owned(),
        sink: Counting(counts),
        metrics: WatchMetrics::default(),
    }
}

fn events(lines: &str) -> Response<Body> {
    Response::new(Body::from(format!("{}\n", lines.replace('\n', "")).into_bytes()))
}

#[tokio::test(start_paused = true)]
async fn a_version_that_expires_immediately_is_not_listed_in_an_endless_loop() {
    let counts = watch(Duration::from_mins(1), || events(GONE)).await;
    let listings = Counts::of(&counts.listings);
    assert!((5..=30).contains(&listings), "{listings} listings in a minute");
    assert_eq!(Counts::of(&counts.recoveries), 0, "it never worked");
}

#[tokio::test(start_paused = true)]
async fn a_window_that_ends_immediately_is_not_reopened_in_an_endless_loop() {
    let counts = watch(Duration::from_mins(1), || Response::new(Body::empty())).await;
    let windows = Counts::of(&counts.windows);
    assert!((5..=30).contains(&windows), "{windows} windows in a minute");
    assert_eq!(Counts::of(&counts.listings), 1, "the version is still known");
    assert_eq!(Counts::of(&counts.recoveries), 0, "it never worked");
}

#[tokio::test(start_paused = true)]
async fn retry_after_of_an_overloaded_api_server_is_honoured() {
    for (status, retry_after, expected) in
        [(429, None, 3..=10), (429, Some("4"), 2..=3), (503, Some("4"), 2..=3), (503, None, 6..=20)]
    {
        let counts = watch(Duration::from_secs(10), move || {
            let answer = Response::builder().status(status);
            let answer = match retry_after {
                Some(retry_after) => answer.header(http::header::RETRY_AFTER, retry_after),
                None => answer,
            };
            answer.body(Body::from(b"Too much to do".to_vec())).unwrap()
        })
        .await;
        let windows = Counts::of(&counts.windows);
        assert!(expected.contains(&windows), "{status}, {retry_after:?}: {windows} windows in 10 seconds");
    }
}

#[test]
fn after_a_retry_after_watches_do_not_come_back_together() {
    let throttled = |seconds: Option<u64>| WatchError::Throttled {
        reason: String::new(),
        retry_after: seconds.map(Duration::from_secs),
    };
    for (asked, earliest_ms, latest_ms) in
        [(Some(4), 4_000, 6_000), (Some(300), 300_000, 450_000), (None, 1_000, 1_500), (Some(0), 50, 100)]
    {
        let delay = |jitter| delay(&throttled(asked), 1, jitter);
        let expected = [earliest_ms, latest_ms].map(Duration::from_millis);
        assert_eq!([delay(0.0), delay(1.0)], expected, "Retry-After: {asked:?}");
    }
    assert_eq!(delay(&throttled(Some(1)), 100, 1.0), BACKOFF.cap, "of both, the longer wait");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_for_a_moment_is_not_reported() {
    let answered = AtomicUsize::new(0);
    let refused_at_first = move || match answered.fetch_add(1, Ordering::SeqCst) {
        0..5 => Response::builder().status(403).body(Body::empty()).unwrap(),
        _ => Response::builder().status(500).body(Body::empty()).unwrap(),
    };
    let counts = watch(Duration::from_mins(1), refused_at_first).await;
    assert_eq!(Counts::of(&counts.refusals), 0);
    let windows = Counts::of(&counts.windows);
    assert!(windows > 15, "other errors are retried more often: {windows} windows");
}

#[tokio::test(start_paused = true)]
async fn after_a_refusal_everything_is_listed_again() {
    let answered = AtomicUsize::new(0);
    let refused_for_a_while = move || match answered.fetch_add(1, Ordering::SeqCst) {
        0..10 => Response::builder().status(403).body(Body::empty()).unwrap(),
        10 => events(LISTED),
        _ => Response::builder().status(500).body(Body::empty()).unwrap(),
    };
    let counts = watch(Duration::from_mins(10), refused_for_a_while).await;
    assert_eq!(Counts::of(&counts.refusals), 1);
    assert!(Counts::of(&counts.completed) >= 2, "{counts:?}");
    assert_eq!(Counts::of(&counts.recoveries), 1, "{counts:?}");
}

#[tokio::test(start_paused = true)]
async fn a_refusal_is_reported_once_and_retried_at_most_once_a_minute() {
    let refuse = || Response::builder().status(403).body(Body::empty()).unwrap();
    let counts = watch(Duration::from_mins(10), refuse).await;
    assert_eq!(Counts::of(&counts.refusals), 1);
    let early = Counts::of(&counts.windows);
    // Each listing seems to work, and is followed by another refusal.
    let listings = Counts::of(&counts.completed);
    assert!(listings > 5 && listings - 2 <= Counts::of(&counts.more_refusals), "{counts:?}");
    assert!((15..=25).contains(&early), "{early} windows in 10 minutes");
    let late = Counts::of(&watch(Duration::from_mins(70), refuse).await.windows) - early;
    assert!((20..=61).contains(&late), "{late} windows in an hour");
}
