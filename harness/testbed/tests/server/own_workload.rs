//! The workload that the server runs in is never managed: a server that scales itself to 0 could not undo it.

use std::fs;

use replica_count_api::proto::{self, DeploymentState, EnforcementMode, Kind};
use replica_count_testbed::control_plane::Scope;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::fixture::{Fixture, options, shared};

const NAME: &str = "manager";

/// A server that runs, as it is told, in the Deployment `manager`, which has one replica. The file has an entry for it.
async fn server() -> Fixture<'static> {
    let control_plane = shared().await;
    let namespace = control_plane.namespace("own").await.unwrap();
    control_plane.deployment(&namespace, NAME, 1).await.unwrap();
    let own = format!("{namespace}/{NAME}");
    let options = options(control_plane, &Scope::Cluster, &[]).await;
    let options = options.variable("OWN_WORKLOAD", own);
    let entry = format!(r#"[{{"name": "{NAME}", "namespace": "{namespace}", "replicas": 0}}]"#);
    fs::write(options.store(), entry).unwrap();
    Fixture::start(control_plane, namespace, options).await
}

#[track_caller]
fn check_refused<T: std::fmt::Debug>(answer: Result<T, Status>) {
    let status = answer.expect_err("refused");
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    assert_eq!(status.get_details_error_info().unwrap().reason, "OWN_WORKLOAD", "{status}");
    assert!(status.message().contains("is the workload that this server runs in"), "{status}");
}

#[tokio::test]
async fn no_change_of_it_is_accepted_and_an_entry_is_not_enforced() {
    let mut fixture = server().await;
    let namespace = fixture.namespace.clone();
    for replicas in [0, 1, 3] {
        let set = proto::SetDeploymentRequest { allow_missing: true, ..fixture.set_request(NAME, replicas) };
        check_refused(fixture.client.set_deployment(set.clone()).await);
        let dry_run = proto::SetDeploymentRequest { dry_run: true, ..set };
        check_refused(fixture.client.set_deployment(dry_run).await);
    }
    for mode in [EnforcementMode::Enforce, EnforcementMode::Ignore] {
        let request = proto::SetEnforcementRequest {
            name: NAME.to_owned(),
            namespace: namespace.clone(),
            mode: mode.into(),
            ..Default::default()
        };
        check_refused(fixture.client.set_enforcement(request).await);
    }

    let answer = fixture.get(NAME).await.unwrap();
    assert_eq!((answer.state(), answer.desired_replicas), (DeploymentState::OutOfScope, Some(0)));
    assert!(answer.state_reason.contains("this server runs in"), "{answer:?}");
    let rows = fixture.client.list_deployments(proto::ListDeploymentsRequest::default()).await.unwrap();
    let rows = rows.into_inner().deployments_replica_config;
    assert_eq!((rows[0].state(), &rows[0].state_reason), (DeploymentState::OutOfScope, &answer.state_reason));
    fixture.create_managed("other", 2).await;
    assert_eq!(fixture.count(NAME).await, Some(1), "others are enforced by now, this one is not");
    let log = fixture.manager.log().join("\n");
    assert!(log.contains("stored but not enforced"), "{log}");

    // What is stored may go, and nothing else.
    let delete = proto::DeleteDeploymentRequest {
        name: NAME.to_owned(),
        namespace: namespace.clone(),
        ..Default::default()
    };
    fixture.client.delete_deployment(delete.clone()).await.unwrap();
    check_refused(fixture.client.delete_deployment(delete).await);
    assert_eq!(fixture.get(NAME).await.unwrap().state(), DeploymentState::Unmanaged);
}

#[tokio::test]
async fn a_workload_of_another_kind_with_its_name_is_managed() {
    let mut fixture = server().await;
    fixture.control_plane.stateful_set(&fixture.namespace, NAME, 1).await.unwrap();
    let request =
        proto::SetDeploymentRequest { kind: Kind::StatefulSet.into(), ..fixture.set_request(NAME, 2) };
    fixture.client.set_deployment(request).await.unwrap();
}
