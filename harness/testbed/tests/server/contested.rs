//! Somebody keeps changing a count: the server repairs it at growing intervals, and names who it is. An autoscaler that
//! comes and goes meanwhile changes nothing.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use replica_count_api::proto::{self, DeploymentState};
use serde_json::json;
use tokio::time::{self, Instant};

use crate::audit::Audited;
use crate::fixture::{Fixture, SOMEBODY, eventually};

const MINUTE: Duration = Duration::from_mins(1);

/// The interval of the changes: 50 a second.
const PAUSE: Duration = Duration::from_millis(20);

/// How long an autoscaler that comes and goes is there, and how long it is not.
const FLAP: Duration = Duration::from_secs(2);

/// With fewer changes, the machine was too busy for a meaningful test.
const CHANGES: usize = 600;

/// How long the repair of another target may take on a busy machine. The benchmark measures how long it really takes.
const BYSTANDER: Duration = Duration::from_secs(3);

/// Keeps changing a count, and returns the number of changes.
async fn fight(fixture: &Fixture<'_>, name: &str, lasting: Duration) -> usize {
    let client = fixture.control_plane.admin().await.unwrap();
    let deployments: Api<Deployment> = Api::namespaced(client, &fixture.namespace);
    let parameters = PatchParams { field_manager: Some(SOMEBODY.to_owned()), ..PatchParams::default() };
    let (end, mut ticks, mut changes) = (Instant::now() + lasting, time::interval(PAUSE), 0);
    while Instant::now() < end {
        ticks.tick().await;
        let patch = Patch::Merge(json!({ "spec": { "replicas": 4 + changes % 2 } }));
        deployments.patch_scale(name, &parameters, &patch).await.unwrap();
        changes += 1;
    }
    changes
}

/// Changes the counts of other targets in turn, and returns the longest repair time.
async fn drift_others(fixture: &Fixture<'_>, names: &[String], lasting: Duration) -> Duration {
    let (end, mut longest) = (Instant::now() + lasting, Duration::ZERO);
    for (round, name) in names.iter().cycle().enumerate() {
        if Instant::now() >= end {
            break;
        }
        let drifted = Instant::now();
        fixture.scale(name, 7).await;
        let times = i64::try_from(round / names.len() + 1).unwrap();
        fixture
            .wait_for(name, |answer| answer.drift_count == times && answer.state() == DeploymentState::InSync)
            .await;
        longest = longest.max(drifted.elapsed());
        // Slow enough not to be contested.
        time::sleep_until(drifted + Duration::from_millis(500)).await;
    }
    longest
}

/// Makes an autoscaler, deletes it, and makes it anew. Returns how often.
async fn flap(fixture: &Fixture<'_>, lasting: Duration) -> usize {
    let (end, autoscalers, mut times) = (Instant::now() + lasting, fixture.autoscalers().await, 0);
    while Instant::now() < end {
        fixture.autoscale("autoscaler", "web", 1).await;
        time::sleep(FLAP).await;
        autoscalers.delete("autoscaler", &DeleteParams::default()).await.unwrap();
        time::sleep(FLAP).await;
        times += 1;
    }
    times
}

/// How many writes to `web` there were within a minute of the first. The oldest `before` writes do not count.
async fn writes_in_the_first_minute(audited: &Audited, fixture: &Fixture<'_>, before: usize) -> usize {
    let writes = eventually("the audit log is written", async || {
        let mut writes = audited.writes(&fixture.namespace).split_off(before);
        writes.retain(|write| write.object.name == "web");
        if writes.len() > 1 { Ok(writes) } else { Err(writes.len()) }
    })
    .await;
    writes.iter().filter(|write| write.is_within(MINUTE, &writes[0])).count()
}

#[tokio::test]
async fn an_autoscaler_that_comes_and_goes_does_not_renew_the_budget() {
    let audited = Audited::start(|options| options).await;
    let mut fixture = Fixture::with(&audited.control_plane, &[]).await;
    fixture.create_managed("web", 3).await;
    let before = audited.writes(&fixture.namespace).len();
    let (changes, flaps) = tokio::join!(fight(&fixture, "web", MINUTE), flap(&fixture, MINUTE));
    assert!(
        changes >= CHANGES && flaps >= 10,
        "{changes} changes, {flaps} autoscalers: the machine is too busy"
    );
    let writes = writes_in_the_first_minute(&audited, &fixture, before).await;
    assert!((12..=20).contains(&writes), "{writes} writes");
    assert!(fixture.get("web").await.unwrap().contest.is_some());
}

#[tokio::test]
async fn fifty_changes_a_second_cost_twenty_writes_in_the_first_minute() {
    let audited = Audited::start(|options| options).await;
    let mut fixture = Fixture::with(&audited.control_plane, &[]).await;
    fixture.create_managed("web", 3).await;
    let others: Vec<String> = (0..12).map(|n| format!("other-{n}")).collect();
    for name in &others {
        fixture.create_managed(name, 3).await;
    }
    let before = audited.writes(&fixture.namespace).len();

    let (changes, longest) =
        tokio::join!(fight(&fixture, "web", MINUTE), drift_others(&fixture, &others, MINUTE));
    assert!(changes >= CHANGES, "only {changes} changes: the machine is too busy");
    assert!(longest < BYSTANDER, "the repair of another target took {longest:?}");

    let answer = fixture.get("web").await.unwrap();
    assert_eq!(answer.state(), DeploymentState::Contested);
    let contest = answer.contest.unwrap();
    assert_eq!(contest.by, SOMEBODY);
    assert!(contest.until.is_some(), "the next repair is delayed");
    let request = proto::ListDeploymentsRequest { name: "web".to_owned(), ..Default::default() };
    let rows =
        fixture.client.list_deployments(request).await.unwrap().into_inner().deployments_replica_config;
    assert_eq!(rows[0].state(), DeploymentState::Contested);
    let metrics = fixture.manager.metrics().await.unwrap();
    assert!(metrics.contains("replica_count_manager_contested_targets 1.0\n"), "{metrics}");
    let contested: Vec<_> =
        fixture.manager.log().into_iter().filter(|line| line.contains("\"contested\"")).collect();
    assert!(
        matches!(&contested[..], [line] if line.contains(SOMEBODY) && line.contains("/web\"")),
        "{contested:#?}"
    );

    let lines = fixture.manager.log().into_iter().filter(|line| line.contains("/web\"")).count();
    assert!(lines < 100, "{lines} lines about one conflict");

    // A new setting is applied without waiting for the end of the conflict.
    fixture.set("web", 6).await;
    fixture.wait_for_count("web", 6).await;
    fixture.wait_for_state("web", DeploymentState::InSync).await;

    let writes = writes_in_the_first_minute(&audited, &fixture, before).await;
    assert!((12..=20).contains(&writes), "{writes} writes");
}
