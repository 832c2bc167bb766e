//! Pages that are too long.

use std::sync::Mutex;

use super::*;
use crate::kubernetes::watch::answer::LONGEST_PAGE;

const EMPTY: &[u8] =
    br#"{"kind":"DeploymentList","apiVersion":"apps/v1","metadata":{"resourceVersion":"7"},"items":[]}"#;

#[tokio::test(start_paused = true)]
async fn a_too_long_page_is_requested_with_fewer_rows() {
    let requested: Arc<Mutex<Vec<u32>>> = Arc::default();
    let recorded = Arc::clone(&requested);
    // Spaces before an answer count as a part of it.
    let long: Vec<u8> = b" ".repeat(LONGEST_PAGE).into_iter().chain(EMPTY.iter().copied()).collect();
    let answer = move |query: &str| -> Response<Body> {
        let mut answer = Response::new(Body::empty());
        if query.contains("sendInitialEvents") {
            *answer.status_mut() = http::StatusCode::UNPROCESSABLE_ENTITY;
        } else if let Some(rows) = query.split('&').find_map(|part| part.strip_prefix("limit=")) {
            let rows = rows.parse().unwrap();
            recorded.lock().unwrap().push(rows);
            *answer.body_mut() = Body::from(if rows > 125 { long.clone() } else { EMPTY.to_vec() });
        }
        answer
    };
    let answer = Arc::new(answer);
    let service = tower::service_fn(move |request: Request<Body>| {
        let answer = answer(request.uri().query().unwrap_or_default());
        async move { Ok::<_, Infallible>(answer) }
    });
    let counts = Arc::<Counts>::default();
    let watch = watch_of(service, Arc::clone(&counts));
    let _ = timeout(Duration::from_secs(5), watch.run(CancellationToken::new())).await;
    assert_eq!(*requested.lock().unwrap(), [500, 250, 125]);
    assert_eq!(Counts::of(&counts.completed), 1);
}

#[test]
fn the_message_from_a_page_of_a_proxy_is_truncated() {
    let page = "<html>".repeat(10_000).into();
    let status = decode::refusal(replica_count_wire::Encoding::Json, http::StatusCode::BAD_GATEWAY, &page);
    assert_eq!((status.message.len(), status.code), (1000, 502));
}
