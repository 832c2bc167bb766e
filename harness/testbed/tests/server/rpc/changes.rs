//! SetDeployment, DeleteDeployment, SetEnforcement: what they change, and what they keep.

use std::fs;
use std::time::Duration;

use jiff::Timestamp;
use replica_count_api::proto::{
    DeleteDeploymentRequest, DeleteDeploymentResponse, DeploymentState, EnforcementMode,
    SetDeploymentRequest, SetDeploymentResponse, SetEnforcementRequest, SetEnforcementResponse,
};
use replica_count_api::response;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::fixture::Fixture;

/// The settings file, as JSON.
fn file(fixture: &Fixture<'_>) -> serde_json::Value {
    serde_json::from_slice(&fs::read(fixture.options.store()).unwrap()).unwrap()
}

#[tokio::test]
async fn a_set_answers_with_the_counts_before_and_after() {
    let mut fixture = Fixture::new().await;
    fixture.create("web", 2).await;
    let expected = |old, new, generation| SetDeploymentResponse {
        name: "web".to_owned(),
        namespace: fixture.namespace.clone(),
        old_replicas: Some(old),
        new_replicas: Some(new),
        generation,
        kind: 0,
        guarded: false,
        hold_until: None,
        replicas_afterwards: None,
    };
    let expected = [expected(2, 0, 1), expected(0, 6, 2), expected(6, 6, 3)];
    for expected in expected {
        let new = expected.new_replicas.unwrap();
        assert_eq!(fixture.set("web", new).await, expected);
        // By the time of the answer, the setting is on disk.
        let entry = &file(&fixture)[0];
        assert_eq!((&entry["name"], &entry["replicas"]), (&"web".into(), &new.into()));
        fixture.wait_for("web", |answer| answer.current_replicas == Some(new)).await;
    }
}

#[tokio::test]
async fn a_dry_run_checks_everything_and_changes_nothing() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    let (before, answer) = (file(&fixture), fixture.get("web").await.unwrap());

    let dry = SetDeploymentRequest { dry_run: true, ..fixture.set_request("web", 9) };
    let answered = fixture.client.set_deployment(dry.clone()).await.unwrap().into_inner();
    assert_eq!((answered.old_replicas, answered.new_replicas, answered.generation), (Some(3), Some(9), 2));
    let refused = [
        (SetDeploymentRequest { expected_generation: Some(7), ..dry.clone() }, Code::Aborted),
        (SetDeploymentRequest { name: "other".to_owned(), ..dry.clone() }, Code::NotFound),
        (SetDeploymentRequest { replicas: Some(-1), ..dry.clone() }, Code::InvalidArgument),
        (SetDeploymentRequest { namespace: "kube-system".to_owned(), ..dry }, Code::PermissionDenied),
    ];
    for (request, code) in refused {
        assert_eq!(fixture.client.set_deployment(request).await.unwrap_err().code(), code);
    }

    assert_eq!((file(&fixture), fixture.get("web").await.unwrap()), (before, answer));
    assert_eq!(fixture.count("web").await, Some(3));
}

#[track_caller]
fn assert_aborted(fixture: &Fixture<'_>, status: &Status) {
    assert_eq!(status.code(), Code::Aborted, "{status}");
    assert_eq!(status.get_details_error_info().unwrap().reason, "GENERATION_MISMATCH");
    let failure = status.get_details_precondition_failure().unwrap();
    let [violation] = failure.violations.as_slice() else { panic!("{failure:?}") };
    assert_eq!(violation.subject, format!("{}/web", fixture.namespace));
    assert!(status.message().contains("generation 2, not"), "{status}");
}

#[tokio::test]
async fn a_change_with_the_wrong_generation_is_aborted() {
    let mut fixture = Fixture::new().await;
    fixture.create("web", 1).await;
    let set = |expected: i64, replicas| SetDeploymentRequest {
        name: "web".to_owned(),
        namespace: fixture.namespace.clone(),
        replicas: Some(replicas),
        expected_generation: Some(expected),
        ..SetDeploymentRequest::default()
    };
    let (first, second, new) = (set(0, 2), set(1, 3), set(0, 9));
    let mut client = fixture.client.clone();
    assert_eq!(client.set_deployment(first.clone()).await.unwrap().into_inner().generation, 1);
    assert_eq!(client.set_deployment(second.clone()).await.unwrap().into_inner().generation, 2);

    for stale in [first, second, new] {
        assert_aborted(&fixture, &client.set_deployment(stale).await.unwrap_err());
    }
    let delete = DeleteDeploymentRequest {
        name: "web".to_owned(),
        namespace: fixture.namespace.clone(),
        expected_generation: Some(1),
        ..DeleteDeploymentRequest::default()
    };
    assert_aborted(&fixture, &client.delete_deployment(delete.clone()).await.unwrap_err());
    let enforce = SetEnforcementRequest {
        name: "web".to_owned(),
        namespace: fixture.namespace.clone(),
        mode: EnforcementMode::Ignore.into(),
        expected_generation: Some(3),
        ..SetEnforcementRequest::default()
    };
    assert_aborted(&fixture, &client.set_enforcement(enforce.clone()).await.unwrap_err());
    let answer = fixture.get("web").await.unwrap();
    assert_eq!((answer.desired_replicas, answer.generation), (Some(3), 2));

    let enforce = SetEnforcementRequest { expected_generation: Some(2), ..enforce };
    assert_eq!(client.set_enforcement(enforce).await.unwrap().into_inner().generation, 3);
    let delete = DeleteDeploymentRequest { expected_generation: Some(3), ..delete };
    client.delete_deployment(delete).await.unwrap();
}

#[tokio::test]
async fn a_deleted_setting_is_forgotten_and_the_count_stays() {
    let mut fixture = Fixture::new().await;
    fixture.create("web", 1).await;
    fixture.set("web", 4).await;
    fixture.wait_for_state("web", DeploymentState::InSync).await;
    let request = DeleteDeploymentRequest {
        name: "web".to_owned(),
        namespace: fixture.namespace.clone(),
        expected_generation: None,
        ..DeleteDeploymentRequest::default()
    };
    let answer = fixture.client.delete_deployment(request.clone()).await.unwrap().into_inner();
    let expected = DeleteDeploymentResponse {
        name: "web".to_owned(),
        namespace: fixture.namespace.clone(),
        old_replicas: Some(4),
        kind: 0,
        ..Default::default()
    };
    assert_eq!(answer, expected);
    assert_eq!(file(&fixture), serde_json::json!([]));
    let answer = fixture.get("web").await.unwrap();
    assert_eq!((answer.state(), answer.current_replicas), (DeploymentState::Unmanaged, Some(4)));
    assert_eq!((answer.desired_replicas, answer.generation, answer.set_by.as_str()), (None, 0, ""));
    let again = fixture.client.delete_deployment(request).await.unwrap_err();
    assert_eq!(again.code(), Code::NotFound);
    assert_eq!(fixture.set("web", 4).await.generation, 1, "a new setting starts at generation 1");
}

#[tokio::test]
async fn enforcement_is_kept_through_sets_and_restarts() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    let until = response::timestamp(Timestamp::now() + Duration::from_hours(1));
    let request = SetEnforcementRequest {
        name: "web".to_owned(),
        namespace: fixture.namespace.clone(),
        mode: EnforcementMode::Ignore.into(),
        until: Some(until),
        expected_generation: None,
        ..SetEnforcementRequest::default()
    };
    let answer = fixture.client.set_enforcement(request.clone()).await.unwrap().into_inner();
    let expected = SetEnforcementResponse {
        name: "web".to_owned(),
        namespace: fixture.namespace.clone(),
        mode: EnforcementMode::Ignore.into(),
        until: Some(until),
        generation: 2,
        kind: 0,
    };
    assert_eq!(answer, expected);
    fixture.set("web", 5).await;
    let mut fixture = fixture.restart(async |_| {}).await;
    let answer = fixture.get("web").await.unwrap();
    assert_eq!((answer.enforcement(), answer.enforcement_until), (EnforcementMode::Ignore, Some(until)));
    assert_eq!((answer.desired_replicas, answer.state()), (Some(5), DeploymentState::Ignored));
    assert_eq!(fixture.count("web").await, Some(3));

    let enforce = SetEnforcementRequest { mode: EnforcementMode::Enforce.into(), until: None, ..request };
    let answer = fixture.client.set_enforcement(enforce).await.unwrap().into_inner();
    assert_eq!((answer.mode(), answer.until, answer.generation), (EnforcementMode::Enforce, None, 4));
    fixture.wait_for_count("web", 5).await;
}
