//! Several servers: all of them serve, and the one that holds the Lease enforces.

use std::time::Duration;

use k8s_openapi::api::coordination::v1::Lease;
use k8s_openapi::api::rbac::v1::Role;
use kube::api::{Api, DeleteParams, PostParams};
use replica_count_api::proto::{self, DeploymentState};
use replica_count_testbed::Manager;
use replica_count_testbed::control_plane::Scope;
use serde_json::json;
use tokio::time::{Instant, sleep};

use super::{LEASE, in_namespace, with_crd};
use crate::fixture::{Fixture, eventually, options, own, shared, wait_for_metric};

const DURATION: Duration = Duration::from_secs(3);
const TIMES: [&str; 6] =
    ["--lease-duration", "3s", "--lease-renew-deadline", "2s", "--lease-retry-period", "400ms"];
const HANDOVERS: usize = 11;
/// The role with the rights on the Lease.
const ROLE: &str = "replica-count-manager-lease";

/// A server that holds the Lease, and another one.
pub(super) async fn two() -> (Fixture<'static>, Manager) {
    let fixture = with_crd(&TIMES).await;
    wait_for_metric(&fixture.manager, "leader 1").await;
    let follower = another(&fixture).await;
    (fixture, follower)
}

pub(super) async fn another(fixture: &Fixture<'_>) -> Manager {
    let mut manager = Manager::start(&fixture.options).await.unwrap();
    manager.wait_ready().await.unwrap();
    wait_for_metric(&manager, "lease_held 1").await;
    manager
}

fn repairs(manager: &Manager) -> usize {
    manager.log().iter().filter(|line| line.contains(r#""message":"repaired""#)).count()
}

#[tokio::test]
async fn one_enforces_and_all_serve() {
    let (mut fixture, follower) = two().await;
    assert!(fixture.manager.readyz().await.unwrap().contains("this server holds the lease"));
    let shown = follower.readyz().await.unwrap();
    assert!(shown.contains(" holds the lease, and enforces"), "{shown}");
    wait_for_metric(&follower, "leader 0").await;

    fixture.create("web", 1).await;
    let mut client = follower.client().await.unwrap();
    client.set_deployment(fixture.set_request("web", 3)).await.unwrap();
    fixture.wait_for_count("web", 3).await;
    for count in [5, 7] {
        fixture.scale("web", count).await;
        fixture.wait_for_count("web", 3).await;
    }
    let request = proto::GetDeploymentRequest {
        name: "web".to_owned(),
        namespace: fixture.namespace.clone(),
        ..proto::GetDeploymentRequest::default()
    };
    eventually("the follower shows it", async || {
        let shown = client.clone().get_deployment(request.clone()).await.unwrap().into_inner();
        if shown.state() == DeploymentState::InSync { Ok(()) } else { Err(shown) }
    })
    .await;
    assert_eq!(fixture.get("web").await.unwrap().drift_count, 2);
    eventually("the repairs are logged", async || match repairs(&fixture.manager) {
        2 => Ok(()),
        other => Err(other),
    })
    .await;
    assert_eq!(repairs(&follower), 0, "{:?}", follower.log());
}

#[tokio::test]
async fn a_server_that_ends_hands_over_at_once() {
    let (mut fixture, mut follower) = two().await;
    fixture.create_managed("web", 3).await;
    let mut took = Vec::new();
    for round in 0..HANDOVERS {
        // The follower has seen the last renewal.
        sleep(Duration::from_millis(500)).await;
        let told = Instant::now();
        fixture.manager.begin_termination().unwrap();
        fixture.scale("web", 4 + i32::try_from(round).unwrap()).await;
        fixture.wait_for_count("web", 3).await;
        took.push(told.elapsed());
        wait_for_metric(&follower, "leader 1").await;
        let ended = std::mem::replace(&mut fixture.manager, follower);
        assert!(ended.wait().await.unwrap().success());
        follower = another(&fixture).await;
    }
    took.sort();
    println!(
        "SIGTERM to the repair by another: median {:?}, slowest {:?}",
        took[HANDOVERS / 2],
        took[HANDOVERS - 1]
    );
    assert!(took[HANDOVERS / 2] <= Duration::from_millis(300), "{took:?}");
}

#[tokio::test]
async fn a_server_that_crashes_is_replaced_after_the_duration() {
    let (mut fixture, follower) = two().await;
    fixture.create_managed("web", 3).await;
    let killed = Instant::now();
    std::mem::replace(&mut fixture.manager, follower).kill().unwrap();
    fixture.scale("web", 5).await;
    fixture.wait_for_count("web", 3).await;
    let took = killed.elapsed();
    println!("SIGKILL to the repair by another: {took:?}, with a lease of {DURATION:?}");
    assert!(took <= DURATION + Duration::from_secs(1), "{took:?}");
}

#[tokio::test]
async fn a_server_that_stood_still_changes_nothing_newer() {
    let (mut fixture, follower) = two().await;
    fixture.create_managed("web", 3).await;
    fixture.scale("web", 5).await;
    fixture.wait_for_count("web", 3).await;
    fixture.manager.pause().unwrap();
    wait_for_metric(&follower, "leader 1").await;
    let mut client = follower.client().await.unwrap();
    client.set_deployment(fixture.set_request("web", 7)).await.unwrap();
    fixture.wait_for_count("web", 7).await;
    let before = fixture.deployments.get("web").await.unwrap().metadata.generation;
    fixture.manager.resume().unwrap();
    wait_for_metric(&fixture.manager, "leader 0").await;
    fixture.wait_for("web", |answer| answer.desired_replicas == Some(7)).await;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(fixture.deployments.get("web").await.unwrap().metadata.generation, before);
    // It takes over again, and remembers what it saw in its first term.
    follower.terminate().await.unwrap();
    fixture.scale("web", 8).await;
    fixture.wait_for_count("web", 7).await;
    wait_for_metric(&fixture.manager, "leader_terms_total 2").await;
    assert_eq!(fixture.get("web").await.unwrap().drift_count, 2);
}

#[tokio::test]
async fn a_new_term_knows_nothing_of_a_conflict_in_an_earlier_one() {
    let (mut fixture, follower) = two().await;
    fixture.create_managed("web", 3).await;
    for replicas in 5..45 {
        fixture.scale("web", replicas).await;
        if fixture.get("web").await.unwrap().state() == DeploymentState::Contested {
            break;
        }
        sleep(Duration::from_millis(100)).await;
    }
    fixture.wait_for("web", |answer| answer.state() == DeploymentState::Contested).await;
    fixture.manager.pause().unwrap();
    wait_for_metric(&follower, "leader 1").await;
    fixture.manager.resume().unwrap();
    wait_for_metric(&fixture.manager, "leader 0").await;
    follower.terminate().await.unwrap();
    wait_for_metric(&fixture.manager, "leader_terms_total 2").await;
    fixture.wait_for("web", |answer| answer.state() == DeploymentState::InSync).await;
}

#[tokio::test]
async fn without_the_lease_nothing_is_enforced_for_its_duration() {
    let (mut fixture, follower) = two().await;
    fixture.create_managed("web", 3).await;
    let client = fixture.control_plane.admin().await.unwrap();
    let leases: Api<Lease> = Api::namespaced(client, &fixture.namespace);
    leases.delete(LEASE, &DeleteParams::default()).await.unwrap();
    let deleted = Instant::now();
    wait_for_metric(&fixture.manager, "leader 0").await;
    assert!(deleted.elapsed() < DURATION / 2, "{:?}", deleted.elapsed());
    fixture.scale("web", 5).await;
    fixture.wait_for_count("web", 3).await;
    assert!(deleted.elapsed() >= DURATION, "{:?}", deleted.elapsed());
    drop(follower);
}

#[tokio::test]
async fn without_rights_to_leases_nothing_is_enforced() {
    let control_plane = own().await;
    control_plane.install_replica_counts().await.unwrap();
    let namespace = control_plane.namespace("crd").await.unwrap();
    let roles: Api<Role> = Api::namespaced(control_plane.admin().await.unwrap(), &namespace);
    let nothing = serde_json::from_value(json!({ "metadata": { "name": ROLE } })).unwrap();
    roles.create(&PostParams::default(), &nothing).await.unwrap();
    let options = options(&control_plane, &Scope::Cluster, &TIMES).await;
    let options = in_namespace(&control_plane, options, &namespace).await;
    let mut fixture = Fixture::start(&control_plane, namespace.clone(), options).await;
    // The counter grows meanwhile.
    eventually("the Lease is refused", async || {
        let metrics = fixture.manager.metrics().await.unwrap();
        let refused =
            metrics.lines().find(|line| line.contains(r#"lease_failures_total{reason="forbidden"} "#));
        refused.filter(|line| !line.ends_with(" 0")).map(drop).ok_or(metrics)
    })
    .await;
    fixture.create("web", 1).await;
    fixture.set("web", 3).await;
    let shown = fixture.manager.readyz().await.unwrap();
    assert!(shown.starts_with("ok\n") && shown.contains("nothing is enforced"), "{shown}");
    sleep(Duration::from_secs(1)).await;
    assert_eq!(fixture.count("web").await, Some(1));
    let log = fixture.manager.log();
    let lines = log.iter().filter(|line| line.contains("the lease cannot be held: nothing is enforced"));
    assert_eq!(lines.count(), 1, "{log:?}");

    roles.delete(ROLE, &DeleteParams::default()).await.unwrap();
    control_plane.create_released_lease(&namespace, LEASE).await.unwrap();
    fixture.wait_for_count("web", 3).await;
}

#[tokio::test]
async fn the_namespace_of_the_lease_must_be_known() {
    let options = options(shared().await, &Scope::Cluster, &["--store", "crd"]).await;
    let (status, log) = Manager::start_expecting_failure(&options).await.unwrap();
    assert_eq!(status.code(), Some(64), "{log:?}");
    assert!(log.last().unwrap().contains("set --lease-namespace"), "{log:?}");
}
