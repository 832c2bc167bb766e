//! Before the cluster is first read, stored settings are known, and nothing else is guessed.

use replica_count_api::proto::{
    DeploymentState, GetDeploymentRequest, ListDeploymentsRequest, SetDeploymentRequest,
};
use replica_count_testbed::Manager;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::fixture::{Fixture, own};

#[track_caller]
fn assert_unread(status: &Status) {
    assert_eq!(status.code(), Code::Unavailable, "{status}");
    assert_eq!(status.get_details_error_info().unwrap().reason, "CLUSTER_NOT_READ");
    assert!(status.get_details_retry_info().is_some(), "{status:?}");
}

#[tokio::test]
async fn managed_targets_are_unknown_and_others_unavailable() {
    let control_plane = own().await;
    let mut fixture = Fixture::with(&control_plane, &[]).await;
    fixture.create("other", 1).await;
    fixture.create_managed("web", 3).await;
    fixture.create_managed("old", 2).await;
    control_plane.stop_api_server().unwrap();
    let Fixture { manager, options, namespace, .. } = fixture;
    manager.kill().unwrap();
    let mut manager = Manager::start(&options).await.unwrap();
    let mut client = manager.client().await.unwrap();
    let get = |name: &str| GetDeploymentRequest {
        name: name.to_owned(),
        namespace: namespace.clone(),
        ..GetDeploymentRequest::default()
    };
    let set = |name: &str, replicas| SetDeploymentRequest {
        name: name.to_owned(),
        namespace: namespace.clone(),
        replicas: Some(replicas),
        ..SetDeploymentRequest::default()
    };

    let answer = client.get_deployment(get("web")).await.unwrap().into_inner();
    assert_eq!((answer.state(), answer.desired_replicas), (DeploymentState::Unknown, Some(3)));
    assert_eq!((answer.current_replicas, answer.ready_replicas, answer.generation), (None, None, 1));
    let rows = client.list_deployments(ListDeploymentsRequest::default()).await.unwrap().into_inner();
    let rows = rows.deployments_replica_config;
    let rows: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.replicas, row.state())).collect();
    assert_eq!(
        rows,
        [("old", Some(2), DeploymentState::Unknown), ("web", Some(3), DeploymentState::Unknown)]
    );

    for name in ["other", "no"] {
        assert_unread(&client.get_deployment(get(name)).await.unwrap_err());
        assert_unread(&client.set_deployment(set(name, 1)).await.unwrap_err());
    }
    let all = ListDeploymentsRequest { include_unmanaged: true, ..ListDeploymentsRequest::default() };
    assert_unread(&client.list_deployments(all).await.unwrap_err());

    // A count may be stored if the client allows a missing Deployment.
    let blind = SetDeploymentRequest { allow_missing: true, ..set("other", 4) };
    let answer = client.set_deployment(blind).await.unwrap().into_inner();
    assert_eq!((answer.old_replicas, answer.new_replicas), (None, Some(4)));

    control_plane.start_api_server().await.unwrap();
    manager.wait_ready().await.unwrap();
    let answer = client.get_deployment(get("web")).await.unwrap().into_inner();
    assert_eq!((answer.state(), answer.current_replicas), (DeploymentState::InSync, Some(3)));
    let missing = client.get_deployment(get("no")).await.unwrap_err();
    assert_eq!(missing.code(), Code::NotFound);
}
