use std::convert::Infallible;
use std::sync::Mutex;

use http::{Request, Response};
use kube::client::Body;
use replica_count_core::history::entry::What;
use replica_count_core::history::sample::sample;
use serde_json::json;
use tokio::sync::{broadcast, watch};
use tokio::time::timeout;

use super::*;

const MINUTE: Duration = Duration::from_mins(1);

/// Lets an API server that answers with these codes, the last one for ever, see `events`, one a second, for so long.
/// Returns the requests, and how many events were dropped.
async fn tell(codes: &[u16], message: &str, events: &[What], lasts: Duration) -> (Vec<String>, u64) {
    tell_beside(Arc::default(), codes, message, events, lasts).await
}

/// The same beside this queue of repairs.
async fn tell_beside(
    work: Arc<Work>,
    codes: &[u16],
    message: &str,
    events: &[What],
    lasts: Duration,
) -> (Vec<String>, u64) {
    let requests = Arc::new(Mutex::new(Vec::new()));
    let (seen, codes) = (Arc::clone(&requests), codes.to_vec());
    let body = json!({ "kind": "Status", "message": message, "details": { "kind": "events" } }).to_string();
    let service = tower::service_fn(move |request: Request<Body>| {
        let mut seen = seen.lock().unwrap();
        let code = codes[seen.len().min(codes.len() - 1)];
        seen.push(request.method().to_string());
        let answer = Response::builder().status(code).body(Body::from(body.clone().into_bytes()));
        async move { Ok::<_, Infallible>(answer.unwrap()) }
    });
    let (sender, happened) = broadcast::channel(16);
    let recorder = EventRecorder {
        happened,
        cluster: Arc::default(),
        kept: None,
        work,
        leadership: Leadership::default(),
        client: Client::new(service, "default"),
        instance: "pod".to_owned(),
        metrics: EventMetrics::default(),
    };
    let metrics = recorder.metrics.clone();
    let sending = async {
        for what in events {
            // What another server has told is not written again.
            for is_own in [false, true] {
                sender.send(Happened::event(sample("shop", "web", *what), is_own)).unwrap();
            }
            sleep(Duration::from_secs(1)).await;
        }
        pending::<()>().await;
    };
    let run = recorder.run(CancellationToken::new());
    let _ = timeout(lasts, async { tokio::join!(sending, run) }).await;
    let requests = requests.lock().unwrap().clone();
    (requests, metrics.dropped.get())
}

#[tokio::test(start_paused = true)]
async fn a_fight_is_created_once_and_then_counted() {
    let (requests, dropped) = tell(&[201], "", &[What::Drifted; 30], MINUTE).await;
    assert_eq!((requests.join(" "), dropped), ("POST PATCH PATCH PATCH".to_owned(), 0));
}

#[tokio::test(start_paused = true)]
async fn repairs_go_first_but_not_for_ever() {
    let work = Arc::<Work>::default();
    work.mark(Target::deployment("shop", "api").unwrap());
    sleep(Duration::from_secs(1)).await;
    let behind =
        async |lasts| tell_beside(Arc::clone(&work), &[201], "", &[What::Drifted], lasts).await.0.len();
    assert_eq!(behind(Duration::from_secs(9)).await, 0);
    assert_eq!(behind(Duration::from_secs(12)).await, 1);
}

#[tokio::test(start_paused = true)]
async fn without_the_right_nothing_is_sent_for_a_while() {
    let right = "events.events.k8s.io is forbidden: User \"x\" cannot create resource \"events\"";
    let events = [What::Drifted, What::Repaired, What::Set];
    let (requests, dropped) = tell(&[403], right, &events, MINUTE).await;
    assert_eq!((requests.len(), dropped), (1, 3));
    let (requests, _) = tell(&[403], right, &[What::Drifted; 660], Duration::from_mins(12)).await;
    assert_eq!(requests.len(), 2);
}

#[tokio::test(start_paused = true)]
async fn what_was_lost_on_the_way_is_sent_again_and_what_has_expired_anew() {
    let (requests, dropped) = tell(&[503, 409, 201], "", &[What::Drifted; 2], MINUTE).await;
    assert_eq!((requests.join(" "), dropped), ("POST POST PATCH".to_owned(), 0));
    let (requests, dropped) = tell(&[201, 404, 201], "", &[What::Drifted; 2], MINUTE).await;
    assert_eq!((requests.join(" "), dropped), ("POST PATCH POST".to_owned(), 0));
    let (requests, dropped) = tell(&[422], "invalid", &[What::Drifted; 2], MINUTE).await;
    assert_eq!((requests.join(" "), dropped), ("POST POST".to_owned(), 2));
}

#[tokio::test(start_paused = true)]
async fn only_who_tells_events_drops_them() {
    let (no_term, nobody) = (watch::Sender::default(), watch::Sender::default());
    let another = Leadership::elected(no_term.subscribe(), nobody.subscribe());
    for (leadership, expected) in [(Leadership::default(), 7), (another, 0)] {
        let (sender, happened) = broadcast::channel(1);
        for _ in 0..8 {
            sender.send(Happened::event(sample("shop", "web", What::Calmed), false)).unwrap();
        }
        let service =
            tower::service_fn(|_: Request<Body>| async { Ok::<_, Infallible>(Response::new(Body::empty())) });
        let recorder = EventRecorder {
            happened,
            cluster: Arc::default(),
            kept: None,
            work: Arc::default(),
            leadership,
            client: Client::new(service, "default"),
            instance: "pod".to_owned(),
            metrics: EventMetrics::default(),
        };
        let metrics = recorder.metrics.clone();
        let _ = timeout(MINUTE, recorder.run(CancellationToken::new())).await;
        assert_eq!(metrics.dropped.get(), expected);
    }
}
