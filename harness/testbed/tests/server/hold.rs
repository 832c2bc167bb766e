//! Temporary counts: in force until their time, with either store, whatever ends meanwhile.

use std::time::Duration;

use jiff::Timestamp;
use replica_count_api::proto::{self, DeploymentState, EventType};
use replica_count_api::response;
use serde_json::json;
use tokio::time::{Instant, sleep};
use tonic::Code;

use crate::crd::with_crd;
use crate::fixture::{Fixture, eventually, wait_for_metric};
use crate::guard::guarded;

/// How late the end of a temporary count may be in effect.
const LATENESS: Duration = Duration::from_secs(1);

impl Fixture<'_> {
    /// Sets a count that ends after `lasts`; returns when that is.
    async fn hold(&mut self, name: &str, replicas: i32, lasts: Duration) -> (Timestamp, Instant) {
        let (until, ends) = (Timestamp::now() + lasts, Instant::now() + lasts);
        let request = proto::SetDeploymentRequest {
            hold_until: Some(response::timestamp(until)),
            ..self.set_request(name, replicas)
        };
        let answer = self.client.set_deployment(request).await.unwrap().into_inner();
        assert_eq!(answer.hold_until, Some(response::timestamp(until)));
        (until, ends)
    }

    /// The desired count, when it ends, and the one afterwards.
    async fn counts(&mut self, name: &str) -> (Option<i32>, Option<prost_types::Timestamp>, Option<i32>) {
        let answer = self.get(name).await.unwrap();
        (answer.desired_replicas, answer.hold_until, answer.replicas_afterwards)
    }

    /// Waits for the count after the end of a temporary one, which is in time.
    async fn check_end(&self, name: &str, ends: Instant, replicas: i32) {
        self.wait_for_count(name, replicas).await;
        let late = Instant::now().checked_duration_since(ends);
        assert!(late.is_some_and(|late| late < LATENESS), "{late:?}");
    }
}

#[tokio::test]
async fn the_setting_before_is_in_force_again() {
    for mut fixture in [Fixture::new().await, with_crd(&[]).await] {
        fixture.create_managed("web", 3).await;
        let (_, first) = fixture.hold("web", 9, Duration::from_secs(60)).await;
        fixture.wait_for_count("web", 9).await;
        // Another one replaces nothing else.
        let (until, ends) = fixture.hold("web", 7, Duration::from_secs(3)).await;
        assert!(ends < first);
        let hold_until = Some(response::timestamp(until));
        assert_eq!(fixture.counts("web").await, (Some(7), hold_until, Some(3)));
        fixture.wait_for_count("web", 7).await;
        fixture.scale("web", 5).await;
        fixture.wait_for_count("web", 7).await;
        let generation = fixture.get("web").await.unwrap().generation;

        fixture.check_end("web", ends, 3).await;
        assert_eq!(fixture.counts("web").await, (Some(3), None, None));
        let answer = fixture.wait_for("web", |answer| answer.state() == DeploymentState::InSync).await;
        assert_eq!((answer.generation, answer.drift_count), (generation, 1), "nothing was rewritten");
        let ended = fixture.wait_for_event(EventType::EventHoldEnded).await;
        assert_eq!((ended.from, ended.to), (Some(7), Some(3)));
        let set = &fixture.events(&[EventType::EventSet]).await[0];
        assert_eq!((set.from, set.to, set.until), (Some(9), Some(7), hold_until));

        // A count without an end replaces both.
        fixture.hold("web", 9, Duration::from_secs(60)).await;
        fixture.set("web", 4).await;
        assert_eq!(fixture.counts("web").await, (Some(4), None, None));
        fixture.wait_for_count("web", 4).await;
    }
}

#[tokio::test]
async fn a_workload_without_a_setting_is_unmanaged_again() {
    for mut fixture in [Fixture::new().await, with_crd(&[]).await] {
        fixture.create("web", 2).await;
        let (until, _) = fixture.hold("web", 4, Duration::from_secs(2)).await;
        assert_eq!(fixture.counts("web").await, (Some(4), Some(response::timestamp(until)), None));
        fixture.wait_for_count("web", 4).await;
        let answer = fixture.wait_for("web", |answer| answer.state() == DeploymentState::Unmanaged).await;
        assert_eq!((answer.desired_replicas, answer.generation), (None, 0));
        let ended = fixture.wait_for_event(EventType::EventHoldEnded).await;
        assert_eq!((ended.from, ended.to), (Some(4), None));
        fixture.scale("web", 6).await;
        fixture.wait_for("web", |answer| answer.current_replicas == Some(6)).await;
        let request = || proto::ListDeploymentsRequest {
            namespace: fixture.namespace.clone(),
            ..proto::ListDeploymentsRequest::default()
        };
        let mut client = fixture.client.clone();
        let rows = client.list_deployments(request()).await.unwrap().into_inner();
        assert_eq!(rows.deployments_replica_config, []);
        let all = proto::ListDeploymentsRequest { include_unmanaged: true, ..request() };
        let rows = client.list_deployments(all).await.unwrap().into_inner().deployments_replica_config;
        assert_eq!((rows.len(), rows[0].state()), (1, DeploymentState::Unmanaged));
        assert_eq!(fixture.count("web").await, Some(6));

        // What has ended is nothing that anybody expects.
        let refused =
            proto::SetDeploymentRequest { expected_generation: Some(1), ..fixture.set_request("web", 3) };
        assert_eq!(fixture.client.set_deployment(refused).await.unwrap_err().code(), Code::Aborted);
        let request =
            proto::SetDeploymentRequest { expected_generation: Some(0), ..fixture.set_request("web", 3) };
        let answer = fixture.client.set_deployment(request).await.unwrap().into_inner();
        assert_eq!((answer.old_replicas, answer.generation), (Some(6), 2));
        fixture.wait_for_count("web", 3).await;
    }
}

#[tokio::test]
async fn a_restart_changes_nothing() {
    for mut fixture in [Fixture::new().await, with_crd(&[]).await] {
        fixture.create_managed("web", 3).await;
        let (until, ends) = fixture.hold("web", 9, Duration::from_secs(20)).await;
        fixture.wait_for_count("web", 9).await;
        let mut fixture = fixture.restart(async |_| ()).await;
        let hold_until = Some(response::timestamp(until));
        assert_eq!(fixture.counts("web").await, (Some(9), hold_until, Some(3)));
        assert!(Instant::now() < ends, "a restart takes too long for this test");
        fixture.hold("web", 8, Duration::from_secs(3)).await;
        fixture.wait_for_count("web", 8).await;
        // It ends while there is no server.
        let mut fixture = fixture.restart(async |_| sleep(Duration::from_secs(4)).await).await;
        assert_eq!(fixture.counts("web").await, (Some(3), None, None));
        fixture.wait_for_count("web", 3).await;
        assert_eq!(fixture.get("web").await.unwrap().drift_count, 0, "nobody has drifted it");
    }
}

#[tokio::test]
async fn the_guard_follows() {
    let (mut fixture, corrects) = guarded("correct").await;
    if !corrects {
        return;
    }
    fixture.create_managed("web", 3).await;
    let (_, ends) = fixture.hold("web", 7, Duration::from_secs(4)).await;
    fixture.wait_for_count("web", 7).await;
    fixture.wait_for("web", |answer| answer.guarded).await;
    fixture.scale("web", 5).await;
    assert_eq!(fixture.count("web").await, Some(7), "the API server keeps it");
    fixture.check_end("web", ends, 3).await;
    fixture.wait_for("web", |answer| answer.guarded).await;
    fixture.scale("web", 5).await;
    assert_eq!(fixture.count("web").await, Some(3), "the API server keeps it");
    assert_eq!(fixture.get("web").await.unwrap().last_failure, None);
}

#[tokio::test]
async fn a_temporary_count_of_an_object_ends_without_a_change_of_it() {
    let mut fixture = with_crd(&[]).await;
    fixture.create("web", 1).await;
    let (until, ends) = (Timestamp::now() + Duration::from_secs(4), Instant::now() + Duration::from_secs(4));
    let temporary = json!({ "replicas": 6, "until": until.to_string() });
    fixture.create_object("web", json!({ "replicas": 2, "temporary": temporary })).await.unwrap();
    fixture.wait_for_count("web", 6).await;
    assert_eq!(fixture.counts("web").await, (Some(6), Some(response::timestamp(until)), Some(2)));
    fixture.wait_for_condition("web", "InEffect", "True", "InSync").await;
    assert_eq!(fixture.object("web").await.unwrap().data["status"]["desired"], 6);
    fixture.check_end("web", ends, 2).await;
    eventually("the status shows it", async || {
        let status = fixture.object("web").await.unwrap().data["status"].clone();
        if (&status["desired"], &status["current"]) == (&json!(2), &json!(2)) { Ok(()) } else { Err(status) }
    })
    .await;
    let object = fixture.object("web").await.unwrap();
    assert_eq!(
        (object.metadata.generation, &object.data["spec"]["temporary"]["replicas"]),
        (Some(1), &json!(6))
    );

    fixture.create("api", 1).await;
    let until = Timestamp::now() + Duration::from_secs(2);
    let temporary = json!({ "replicas": 4, "until": until.to_string() });
    fixture.create_object("api", json!({ "temporary": temporary })).await.unwrap();
    fixture.wait_for_count("api", 4).await;
    fixture.wait_for_condition("api", "InEffect", "False", "HoldEnded").await;
    fixture.scale("api", 7).await;
    fixture.wait_for("api", |answer| answer.current_replicas == Some(7)).await;
    let answer = fixture.get("api").await.unwrap();
    assert_eq!((answer.state(), answer.desired_replicas), (DeploymentState::Unmanaged, None));
}

#[tokio::test]
async fn the_next_holder_ends_it_in_time() {
    let mut fixture = with_crd(&[]).await;
    wait_for_metric(&fixture.manager, "leader 1").await;
    fixture.create_managed("web", 3).await;
    let (_, ends) = fixture.hold("web", 9, Duration::from_secs(8)).await;
    fixture.wait_for_count("web", 9).await;
    let mut next = replica_count_testbed::Manager::start(&fixture.options).await.unwrap();
    next.wait_ready().await.unwrap();
    wait_for_metric(&next, "lease_held 1").await;
    fixture.manager.begin_termination().unwrap();
    wait_for_metric(&next, "leader 1").await;
    assert!(Instant::now() < ends, "a handover takes too long for this test");
    assert_eq!(fixture.count("web").await, Some(9));
    let ended = std::mem::replace(&mut fixture.manager, next);
    assert!(ended.wait().await.unwrap().success());
    fixture.check_end("web", ends, 3).await;
}
