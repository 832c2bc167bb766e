//! GetDeployment: everything about one Deployment.

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use replica_count_api::proto::{
    AuthorCertainty, DeploymentState, EnforcementMode, GetDeploymentResponse, SetDeploymentRequest,
};
use serde_json::json;

use crate::fixture::Fixture;

#[tokio::test]
async fn it_reports_who_set_what_when_and_why() {
    let mut fixture = Fixture::new().await;
    fixture.create("web", 2).await;
    fixture.manager.certificates().issue("alice", &["ops"]).unwrap();
    let mut alice = fixture.manager.client_as("alice").await.unwrap();
    let before = Timestamp::now();
    fixture.set("web", 4).await;
    let request = SetDeploymentRequest { reason: "the big sale".to_owned(), ..fixture.set_request("web", 3) };
    alice.set_deployment(request).await.unwrap();
    fixture.wait_for_count("web", 3).await;
    let status = Patch::Merge(json!({ "status": { "replicas": 3, "readyReplicas": 2 } }));
    fixture.deployments.patch_status("web", &PatchParams::default(), &status).await.unwrap();

    let ready = |answer: &GetDeploymentResponse| answer.ready_replicas == Some(2);
    let mut answer = fixture.wait_for("web", ready).await;
    let set_at = answer.set_at.take().unwrap();
    let set_at = Timestamp::new(set_at.seconds, set_at.nanos).unwrap();
    assert!((before..=Timestamp::now()).contains(&set_at), "{set_at}");
    let expected = GetDeploymentResponse {
        name: "web".to_owned(),
        namespace: fixture.namespace.clone(),
        current_replicas: Some(3),
        desired_replicas: Some(3),
        ready_replicas: Some(2),
        state: DeploymentState::InSync.into(),
        generation: 2,
        set_by: "alice".to_owned(),
        set_by_certainty: AuthorCertainty::AuthorProven.into(),
        reason: "the big sale".to_owned(),
        enforcement: EnforcementMode::Enforce.into(),
        ..GetDeploymentResponse::default()
    };
    assert_eq!(answer, expected);

    // All of it survives a restart.
    let mut fixture = fixture.restart(async |_| {}).await;
    let mut answer = fixture.get("web").await.unwrap();
    let kept = answer.set_at.take().unwrap();
    assert_eq!(Timestamp::new(kept.seconds, kept.nanos).unwrap(), set_at);
    assert_eq!(answer, expected);

    fixture.set("web", 3).await;
    let answer = fixture.get("web").await.unwrap();
    assert_eq!((answer.set_by.as_str(), answer.reason.as_str(), answer.generation), ("client", "", 3));
}

#[tokio::test]
async fn an_unmanaged_deployment_has_no_desired_count() {
    let fixture = Fixture::new().await;
    fixture.create("web", 2).await;
    let answer = fixture.wait_for("web", |_| true).await;
    let expected = GetDeploymentResponse {
        name: "web".to_owned(),
        namespace: fixture.namespace.clone(),
        current_replicas: Some(2),
        ready_replicas: Some(0),
        state: DeploymentState::Unmanaged.into(),
        ..GetDeploymentResponse::default()
    };
    assert_eq!(answer, expected);
}
