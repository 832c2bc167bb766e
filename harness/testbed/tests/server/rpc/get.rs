//! GetDeployment: all that is known of one Deployment.

use jiff::Timestamp;
use kube::api::{Patch, PatchParams};
use replica_count_api::proto::{
    DeploymentState, EnforcementMode, GetDeploymentResponse, SetDeploymentRequest,
};
use serde_json::json;

use crate::scene::Scene;

#[tokio::test]
async fn it_says_who_set_what_when_and_why() {
    let mut scene = Scene::new().await;
    scene.create("web", 2).await;
    scene.manager.certificates().issue("alice", &["ops"]).unwrap();
    let mut alice = scene.manager.client_as("alice").await.unwrap();
    let before = Timestamp::now();
    scene.set("web", 4).await;
    let request = SetDeploymentRequest { reason: "the big sale".to_owned(), ..scene.set_request("web", 3) };
    alice.set_deployment(request).await.unwrap();
    scene.until_count("web", 3).await;
    let status = Patch::Merge(json!({ "status": { "replicas": 3, "readyReplicas": 2 } }));
    scene.deployments.patch_status("web", &PatchParams::default(), &status).await.unwrap();

    let ready = |answer: &GetDeploymentResponse| answer.ready_replicas == Some(2);
    let mut answer = scene.until("web", ready).await;
    let set_at = answer.set_at.take().unwrap();
    let set_at = Timestamp::new(set_at.seconds, set_at.nanos).unwrap();
    assert!((before..=Timestamp::now()).contains(&set_at), "{set_at}");
    let expected = GetDeploymentResponse {
        name: "web".to_owned(),
        namespace: scene.namespace.clone(),
        current_replicas: Some(3),
        desired_replicas: Some(3),
        ready_replicas: Some(2),
        state: DeploymentState::InSync.into(),
        generation: 2,
        set_by: "alice".to_owned(),
        reason: "the big sale".to_owned(),
        enforcement: EnforcementMode::Enforce.into(),
        ..GetDeploymentResponse::default()
    };
    assert_eq!(answer, expected);

    // A restart forgets none of it.
    let mut scene = scene.restart(async |_| {}).await;
    let mut answer = scene.get("web").await.unwrap();
    let kept = answer.set_at.take().unwrap();
    assert_eq!(Timestamp::new(kept.seconds, kept.nanos).unwrap(), set_at);
    assert_eq!(answer, expected);

    scene.set("web", 3).await;
    let answer = scene.get("web").await.unwrap();
    assert_eq!((answer.set_by.as_str(), answer.reason.as_str(), answer.generation), ("client", "", 3));
}

#[tokio::test]
async fn what_is_not_managed_has_no_desired_count() {
    let scene = Scene::new().await;
    scene.create("web", 2).await;
    let answer = scene.until("web", |_| true).await;
    let expected = GetDeploymentResponse {
        name: "web".to_owned(),
        namespace: scene.namespace.clone(),
        current_replicas: Some(2),
        ready_replicas: Some(0),
        state: DeploymentState::Unmanaged.into(),
        ..GetDeploymentResponse::default()
    };
    assert_eq!(answer, expected);
}
