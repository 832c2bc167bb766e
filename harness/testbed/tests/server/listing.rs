//! The first listing, on API servers with and without streamed listings.

use futures_util::future::join_all;
use replica_count_testbed::Options;

use crate::fixture::{Fixture, own_with, testbed};

/// More Deployments than one page of a listing holds.
const DEPLOYMENTS: usize = 510;

async fn check(options: Options, expected_fallbacks: &str) {
    let control_plane = own_with(options).await;
    let mut fixture = Fixture::with(&control_plane, &[]).await;
    let names: Vec<String> = (0..DEPLOYMENTS).map(|n| format!("web-{n:03}")).collect();
    for some in names.chunks(30) {
        join_all(some.iter().map(|name| fixture.create(name, 1))).await;
    }
    let (first, last) = ("web-000", "web-509");
    for name in [first, last] {
        fixture.set(name, 1).await;
    }

    let fixture = fixture.restart(async |_| {}).await;
    let metrics = fixture.manager.metrics().await.unwrap();
    for expected in
        [format!("replica_count_manager_deployments {DEPLOYMENTS}.0\n"), expected_fallbacks.to_owned()]
    {
        assert!(metrics.contains(&expected), "{expected} not in {metrics}");
    }
    for name in [first, last] {
        fixture.scale(name, 4).await;
        fixture.wait_for_count(name, 1).await;
    }
}

#[tokio::test]
async fn in_pages() {
    let options = Options::new(testbed()).with_api_server_argument("--feature-gates=WatchList=false");
    check(options, "watch_interruptions_total{reason=\"no_streamed_listing\"} 1\n").await;
}

#[tokio::test]
async fn as_a_stream() {
    let options = Options::new(testbed()).with_api_server_argument("--feature-gates=WatchList=true");
    check(options, "replica_count_manager_watch_events_total 510\n").await;
}
