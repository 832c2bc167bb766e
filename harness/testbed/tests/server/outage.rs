//! The API server stops, freezes, or forgets versions: the server keeps working and recovers by itself.

use std::time::Duration;

use replica_count_api::proto::{self, DeploymentState};
use rustix::process::{Pid, Signal, kill_process};
use tokio::time::Instant;

use crate::fixture::{Fixture, eventually, own};

#[tokio::test]
async fn without_the_api_server_reads_answer_and_sets_are_stored() {
    let control_plane = own().await;
    let mut fixture = Fixture::with(&control_plane, &[]).await;
    fixture.create_managed("web", 3).await;
    assert_eq!(fixture.manager.get("/healthz").await.unwrap(), (200, "ok\n".to_owned()));

    control_plane.stop_api_server().unwrap();
    eventually("/healthz reports it", async || match fixture.manager.get("/healthz").await.unwrap() {
        (503, reason) => Ok(reason),
        other => Err(other),
    })
    .await;
    for path in ["/livez", "/readyz"] {
        assert_eq!(fixture.manager.get(path).await.unwrap().0, 200, "{path}");
    }
    let answer = fixture.wait_for("web", |answer| answer.observed_age.is_some()).await;
    assert_eq!((answer.desired_replicas, answer.current_replicas), (Some(3), Some(3)));
    let answer = fixture.set("web", 5).await;
    assert_eq!((answer.old_replicas, answer.new_replicas), (Some(3), Some(5)));
    let unknown = fixture.client.set_deployment(fixture.set_request("new", 1)).await.unwrap_err();
    assert_eq!(unknown.code(), tonic::Code::Unavailable, "it cannot know whether that exists: {unknown}");

    control_plane.start_api_server().await.unwrap();
    let back = Instant::now();
    fixture.wait_for_count("web", 5).await;
    let answer = fixture.wait_for("web", |answer| answer.observed_age.is_none()).await;
    assert_eq!((answer.state(), answer.drift_count), (DeploymentState::InSync, 0));
    assert!(back.elapsed() < Duration::from_secs(15), "{:?}", back.elapsed());
    eventually("/healthz reports it", async || match fixture.manager.get("/healthz").await.unwrap() {
        (200, _) => Ok(()),
        other => Err(other),
    })
    .await;
}

#[tokio::test]
async fn a_frozen_api_server_is_noticed_within_seconds() {
    let control_plane = own().await;
    let mut fixture = Fixture::with(&control_plane, &[]).await;
    fixture.create_managed("web", 3).await;
    control_plane.pause_api_server().unwrap();
    let frozen = Instant::now();
    fixture.wait_for("web", |answer| answer.observed_age.is_some()).await;
    assert!(frozen.elapsed() < Duration::from_secs(20), "{:?}", frozen.elapsed());
    assert_eq!(fixture.manager.get("/healthz").await.unwrap().0, 503);
    control_plane.resume_api_server().unwrap();
    fixture.wait_for("web", |answer| answer.observed_age.is_none()).await;
    fixture.scale("web", 7).await;
    fixture.wait_for_count("web", 3).await;
}

#[tokio::test]
async fn a_version_that_is_gone_leads_to_a_new_listing() {
    let control_plane = own().await;
    let mut fixture = Fixture::with(&control_plane, &[]).await;
    fixture.create_managed("web", 3).await;
    fixture.create_managed("gone", 3).await;

    // The first restart ends the watch, so it cannot have delivered the changes. The second one makes the API server
    // forget the versions before them.
    let process = Pid::from_raw(fixture.manager.pid().try_into().unwrap()).unwrap();
    kill_process(process, Signal::STOP).unwrap();
    control_plane.stop_api_server().unwrap();
    control_plane.start_api_server().await.unwrap();
    fixture.scale("web", 7).await;
    fixture.delete_deployment("gone").await;
    control_plane.stop_api_server().unwrap();
    control_plane.start_api_server().await.unwrap();
    kill_process(process, Signal::CONT).unwrap();

    fixture.wait_for_count("web", 3).await;
    fixture.wait_for_state("gone", DeploymentState::Missing).await;
    let metrics = fixture.manager.metrics().await.unwrap();
    assert!(metrics.contains("watch_interruptions_total{reason=\"gone\"} 1"), "{metrics}");
}

#[tokio::test]
async fn a_server_starts_before_its_api_server() {
    let control_plane = own().await;
    let mut fixture = Fixture::with(&control_plane, &[]).await;
    fixture.create_managed("web", 3).await;
    control_plane.stop_api_server().unwrap();
    let Fixture { manager, options, namespace, .. } = fixture;
    manager.kill().unwrap();
    let mut manager = replica_count_testbed::Manager::start(&options).await.unwrap();
    assert_eq!(manager.get("/readyz").await.unwrap().0, 503);
    assert_eq!(manager.get("/livez").await.unwrap().0, 200);
    let mut client = manager.client().await.unwrap();
    let set = |name: &str| proto::SetDeploymentRequest {
        name: name.to_owned(),
        namespace: namespace.clone(),
        replicas: Some(5),
        ..proto::SetDeploymentRequest::default()
    };
    let refused = client.set_deployment(set("new")).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::Unavailable, "it cannot know whether that exists: {refused}");
    let answer = client.set_deployment(set("web")).await.unwrap().into_inner();
    assert_eq!((answer.old_replicas, answer.new_replicas), (None, Some(5)), "it is managed already");
    control_plane.start_api_server().await.unwrap();
    manager.wait_ready().await.unwrap();
}
