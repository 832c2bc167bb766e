//! The watch against answers that a real API server gives only under duress. The API server here is a stand-in: a function
//! from a request to an answer. What real ones do is tested with real ones, in the testbed.

mod encodings;
mod pages;

use std::convert::Infallible;
use std::sync::atomic::{AtomicUsize, Ordering};

use http::{Request, Response};
use kube::client::Body;
use kube::{Api, Client};
use tower::Service;

use super::*;
use crate::kubernetes::deployment::SlimDeployment;

const LISTED: &str = r#"{"type":"BOOKMARK","object":{"kind":"Deployment","apiVersion":"apps/v1","metadata":{
    "resourceVersion":"7","annotations":{"k8s.io/initial-events-end":"true"}}}}"#;
const GONE: &str =
    r#"{"type":"ERROR","object":{"kind":"Status","message":"too old","reason":"Expired","code":410}}"#;

/// What the stand-in was asked, and what the watch made of it.
#[derive(Debug, Default)]
struct Counts {
    listings: AtomicUsize,
    windows: AtomicUsize,
    recoveries: AtomicUsize,
}

impl Counts {
    fn of(counter: &AtomicUsize) -> usize {
        counter.load(Ordering::SeqCst)
    }
}

/// Runs the watch for a while against an API server that lists nothing and answers each window with `window`.
async fn watch(
    lasting: Duration,
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
    let recovered = Arc::clone(&counts);
    let watch = watch_of(service, move || {
        recovered.recoveries.fetch_add(1, Ordering::SeqCst);
    });
    let shutdown = CancellationToken::new();
    let _ = timeout(lasting, watch.run(shutdown)).await;
    counts
}

fn watch_of<S>(service: S, recovered: impl Fn() + Send + Sync + 'static) -> Watch<SlimDeployment>
where
    S: Service<Request<Body>, Response = Response<Body>, Error = Infallible> + Send + 'static,
    S::Future: Send,
{
    Watch {
        api: Api::all(Client::new(service, "default")),
        cluster: Arc::default(),
        changed: Box::new(|_| ()),
        recovered: Box::new(recovered),
        metrics: WatchMetrics::default(),
    }
}

fn events(lines: &str) -> Response<Body> {
    Response::new(Body::from(format!("{}\n", lines.replace('\n', "")).into_bytes()))
}

#[tokio::test(start_paused = true)]
async fn a_version_that_is_gone_at_once_is_not_listed_anew_without_end() {
    let counts = watch(Duration::from_mins(1), || events(GONE)).await;
    let listings = Counts::of(&counts.listings);
    assert!((5..=30).contains(&listings), "{listings} listings in a minute");
    assert_eq!(Counts::of(&counts.recoveries), 0, "it never worked");
}

#[tokio::test(start_paused = true)]
async fn a_window_that_ends_at_once_is_not_opened_without_end() {
    let counts = watch(Duration::from_mins(1), || Response::new(Body::empty())).await;
    let windows = Counts::of(&counts.windows);
    assert!((5..=30).contains(&windows), "{windows} windows in a minute");
    assert_eq!(Counts::of(&counts.listings), 1, "the version is still known");
    assert_eq!(Counts::of(&counts.recoveries), 0, "it never worked");
}

#[tokio::test(start_paused = true)]
async fn an_api_server_with_too_much_to_do_is_given_as_long_as_it_asks_for() {
    for (status, asked, expected) in
        [(429, None, 3..=10), (429, Some("4"), 3..=3), (503, Some("4"), 3..=3), (503, None, 6..=20)]
    {
        let counts = watch(Duration::from_secs(10), move || {
            let answer = Response::builder().status(status);
            let answer = match asked {
                Some(asked) => answer.header(http::header::RETRY_AFTER, asked),
                None => answer,
            };
            answer.body(Body::from(b"Too much to do".to_vec())).unwrap()
        })
        .await;
        let windows = Counts::of(&counts.windows);
        assert!(expected.contains(&windows), "{status}, {asked:?}: {windows} windows in 10 seconds");
    }
}
