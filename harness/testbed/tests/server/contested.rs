//! Somebody fights for a count: the server goes on, ever more slowly, and names who it is.

use std::time::Duration;

use k8s_openapi::api::apps::v1::Deployment;
use kube::api::{Api, Patch, PatchParams};
use replica_count_api::proto::{self, DeploymentState};
use serde_json::json;
use tokio::time::{self, Instant};

use crate::audit::Audited;
use crate::scene::{SOMEBODY, Scene, eventually};

const MINUTE: Duration = Duration::from_mins(1);

/// How often the opponent changes the count: 50 times a second.
const PAUSE: Duration = Duration::from_millis(20);

/// A machine that is too busy for the test says nothing about it.
const CHANGES: usize = 600;

/// How long the repair of any other target may take on a busy machine; the benchmark says how long it does.
const BYSTANDER: Duration = Duration::from_secs(3);

/// Fights for a while; says how many changes were made.
async fn fight(scene: &Scene<'_>, name: &str, lasting: Duration) -> usize {
    let client = scene.control_plane.admin().await.unwrap();
    let deployments: Api<Deployment> = Api::namespaced(client, &scene.namespace);
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

/// Drifts one of the other targets after the other for a while; returns the longest that a repair took.
async fn drift_others(scene: &Scene<'_>, names: &[String], lasting: Duration) -> Duration {
    let (end, mut longest) = (Instant::now() + lasting, Duration::ZERO);
    for (round, name) in names.iter().cycle().enumerate() {
        if Instant::now() >= end {
            break;
        }
        let drifted = Instant::now();
        scene.scale(name, 7).await;
        let times = i64::try_from(round / names.len() + 1).unwrap();
        scene
            .until(name, |answer| answer.drift_count == times && answer.state() == DeploymentState::InSync)
            .await;
        longest = longest.max(drifted.elapsed());
        // So that none of these is contested.
        time::sleep_until(drifted + Duration::from_millis(500)).await;
    }
    longest
}

#[tokio::test]
async fn fifty_changes_a_second_cost_twenty_writes_in_the_first_minute() {
    let audited = Audited::start(|options| options).await;
    let mut scene = Scene::with(&audited.control_plane, &[]).await;
    scene.create_managed("web", 3).await;
    let others: Vec<String> = (0..12).map(|n| format!("other-{n}")).collect();
    for name in &others {
        scene.create_managed(name, 3).await;
    }
    let before = audited.writes(&scene.namespace).len();

    let (changes, longest) =
        tokio::join!(fight(&scene, "web", MINUTE), drift_others(&scene, &others, MINUTE));
    assert!(changes >= CHANGES, "only {changes} changes: the machine is too busy");
    assert!(longest < BYSTANDER, "the repair of another target took {longest:?}");

    let answer = scene.get("web").await.unwrap();
    assert_eq!(answer.state(), DeploymentState::Contested);
    let contest = answer.contest.unwrap();
    assert_eq!(contest.by, SOMEBODY);
    assert!(contest.until.is_some(), "the next repair waits");
    let request = proto::ListDeploymentsRequest { name: "web".to_owned(), ..Default::default() };
    let rows = scene.client.list_deployments(request).await.unwrap().into_inner().deployments_replica_config;
    assert_eq!(rows[0].state(), DeploymentState::Contested);
    let metrics = scene.manager.metrics().await.unwrap();
    assert!(metrics.contains("replica_count_manager_contested_targets 1.0\n"), "{metrics}");
    let told: Vec<_> =
        scene.manager.log().into_iter().filter(|line| line.contains("\"contested\"")).collect();
    assert!(matches!(&told[..], [line] if line.contains(SOMEBODY) && line.contains("/web\"")), "{told:#?}");

    let lines = scene.manager.log().into_iter().filter(|line| line.contains("/web\"")).count();
    assert!(lines < 100, "{lines} lines about one fight");

    // A new setting does not wait for the end of the fight.
    scene.set("web", 6).await;
    scene.until_count("web", 6).await;
    scene.until_state("web", DeploymentState::InSync).await;

    let writes = eventually("the audit log is written", async || {
        let mut writes = audited.writes(&scene.namespace).split_off(before);
        writes.retain(|write| write.object.name == "web");
        if writes.len() > 1 { Ok(writes) } else { Err(writes.len()) }
    })
    .await;
    let first = &writes[0];
    let in_the_first_minute = writes.iter().filter(|write| write.is_within(MINUTE, first)).count();
    assert!((12..=20).contains(&in_the_first_minute), "{in_the_first_minute} writes: {writes:#?}");
}
