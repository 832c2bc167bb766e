//! Everything drifts at once, and the API server throttles most writes: all drifts are repaired, with limited
//! concurrency.

use futures_util::future::join_all;
use kube::api::{Patch, PatchParams};
use replica_count_api::proto::DeploymentState;
use serde_json::json;

use crate::audit::{Audited, Write};
use crate::fixture::{Fixture, eventually};

const TARGETS: usize = 300;

/// The server's limit of writes in flight.
const MAX_IN_FLIGHT: usize = 32;

/// The most writes that were in flight at once.
fn most_at_once(writes: &[Write]) -> usize {
    let at_once = |write: &Write| {
        writes.iter().filter(|other| other.began <= write.began && write.began < other.ended).count()
    };
    writes.iter().map(at_once).max().unwrap_or(0)
}

/// The value of a counter.
fn counter(metrics: &str, name: &str) -> usize {
    let prefix = format!("replica_count_manager_{name} ");
    metrics.lines().find_map(|line| line.strip_prefix(&prefix)?.parse().ok()).unwrap()
}

#[tokio::test]
async fn no_repair_is_lost_when_the_api_server_throttles() {
    // Without priority and fairness, requests beyond this limit are not queued but refused, with a Retry-After of 1 s.
    // Administrators are exempt, so the test's own requests are not refused.
    let audited = Audited::start(|options| {
        options
            .with_api_server_argument("--enable-priority-and-fairness=false")
            .with_api_server_argument("--max-mutating-requests-inflight=2")
    })
    .await;
    let fixture = Fixture::with(&audited.control_plane, &[]).await;
    let names: Vec<String> = (0..TARGETS).map(|n| format!("web-{n}")).collect();
    for some in names.chunks(30) {
        join_all(some.iter().map(|name| fixture.create(name, 2))).await;
    }
    let sets = names.iter().map(|name| {
        let (mut client, request) = (fixture.client.clone(), fixture.set_request(name, 2));
        async move { client.set_deployment(request).await.unwrap() }
    });
    join_all(sets).await;

    let fixture = fixture
        .restart(async |deployments| {
            let patch = Patch::Merge(json!({ "spec": { "replicas": 5 } }));
            let parameters = PatchParams::default();
            for some in names.chunks(30) {
                let drifted = some.iter().map(|name| deployments.patch(name, &parameters, &patch));
                join_all(drifted).await.into_iter().for_each(|drifted| drop(drifted.unwrap()));
            }
        })
        .await;
    eventually("all are repaired", async || {
        let rows = fixture.managed_rows().await;
        let drifted = rows.iter().filter(|row| row.state() != DeploymentState::InSync).count();
        if drifted == 0 { Ok(()) } else { Err(drifted) }
    })
    .await;
    for name in &names {
        assert_eq!(fixture.count(name).await, Some(2), "{name}");
    }
    // A drift in the same second as its Set cannot be recognised as one, and is repaired as a new setting.
    eventually("each repair is counted once", async || {
        let metrics = fixture.manager.metrics().await.unwrap();
        let answered = counter(&metrics, "repairs_total") + counter(&metrics, "settings_applied_total");
        if answered == TARGETS { Ok(()) } else { Err(answered) }
    })
    .await;

    let writes = audited.writes(&fixture.namespace);
    let throttled: Vec<_> = writes.iter().filter(|write| write.status.code == 429).collect();
    assert!(!throttled.is_empty(), "the API server throttled no write");
    for first in throttled {
        let again =
            writes.iter().find(|write| write.object.name == first.object.name && write.began > first.began);
        let waited = again.unwrap().began.duration_since(first.ended);
        assert!(waited.as_millis() >= 1_000, "{} was retried after {waited:?}", first.object.name);
    }
    let most = most_at_once(&writes);
    assert!((2..=MAX_IN_FLIGHT).contains(&most), "{most} writes at once");
}
