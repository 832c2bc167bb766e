//! Without the definition, with another one, and without the right to read.

use k8s_openapi::api::rbac::v1::ClusterRoleBinding;
use k8s_openapi::apiextensions_apiserver::pkg::apis::apiextensions::v1::CustomResourceDefinition;
use kube::api::{Api, DeleteParams, Patch, PatchParams};
use replica_count_api::proto::DeploymentState;
use replica_count_testbed::control_plane::Scope;
use replica_count_testbed::{ControlPlane, Manager};
use serde_json::json;
use tonic::Code;

use super::on;
use crate::fixture::{Fixture, eventually, options, own, wait_for_metric};

const NAME: &str = "replicacounts.replicacount.dev";

#[tokio::test]
async fn the_server_needs_the_definition() {
    let control_plane = own().await;
    let options =
        options(&control_plane, &Scope::Cluster, &["--store", "crd", "--lease-namespace", "default"]).await;
    let (status, log) = Manager::start_expecting_failure(&options).await.unwrap();
    assert_eq!(status.code(), Some(64), "{log:?}");
    let last = log.last().unwrap();
    assert!(last.contains("replica-count-manager crd | kubectl apply --server-side -f -"), "{log:?}");

    // An older definition.
    control_plane.install_replica_counts().await.unwrap();
    change_reason(&control_plane, "remove").await;
    let admin = control_plane.admin().await.unwrap();
    eventually("the API server publishes the schema", async || {
        let request =
            http::Request::get("/openapi/v3/apis/replicacount.dev/v1alpha1").body(Vec::new()).unwrap();
        let schema = admin.request_text(request).await.unwrap_or_default();
        if schema.contains("enforcementUntil") && !schema.contains("Why this count was set") {
            Ok(())
        } else {
            Err("not yet")
        }
    })
    .await;
    let (status, log) = Manager::start_expecting_failure(&options).await.unwrap();
    assert_eq!(status.code(), Some(64), "{log:?}");
    assert!(log.last().unwrap().contains("have no spec.reason"), "{log:?}");
}

#[tokio::test]
async fn a_deleted_definition_is_told_and_comes_back() {
    let control_plane = own().await;
    let mut fixture = on(&control_plane, &[]).await;
    fixture.create_managed("web", 3).await;
    let definitions: Api<CustomResourceDefinition> = Api::all(control_plane.admin().await.unwrap());
    definitions.delete(NAME, &DeleteParams::default()).await.unwrap();
    wait_for_metric(&fixture.manager, "store_available 0").await;
    eventually("the log says it once", async || {
        let log = fixture.manager.log();
        let lines =
            log.iter().filter(|line| line.contains("ERROR") && line.contains("does not show ReplicaCounts"));
        let lines: Vec<_> = lines.cloned().collect();
        match &lines[..] {
            [line] if line.contains("install them: replica-count-manager crd") => Ok(()),
            _ => Err(log),
        }
    })
    .await;
    // Reads go on, nothing is enforced, and a change is refused.
    fixture.scale("web", 5).await;
    let read = fixture.wait_for("web", |answer| answer.current_replicas == Some(5)).await;
    assert_eq!(read.state(), DeploymentState::Unmanaged, "the API server has deleted the objects, too");
    let refused = fixture.client.set_deployment(fixture.set_request("web", 4)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    assert!(refused.message().contains("does not know ReplicaCounts"), "{refused:?}");
    let (_, ready) = fixture.manager.get("/readyz").await.unwrap();
    assert!(ready.contains("nothing is enforced"), "{ready}");

    control_plane.install_replica_counts().await.unwrap();
    wait_for_metric(&fixture.manager, "store_available 1").await;
    fixture.create_object("web", json!({ "replicas": 2 })).await.unwrap();
    fixture.wait_for_count("web", 2).await;
    fixture.set("web", 4).await;
    fixture.wait_for_count("web", 4).await;
}

/// Takes the field `reason` out of the definition, as if that were older than the server; or puts it back.
async fn change_reason(control_plane: &ControlPlane, operation: &str) {
    let definitions: Api<CustomResourceDefinition> = Api::all(control_plane.admin().await.unwrap());
    let path = "/spec/versions/0/schema/openAPIV3Schema/properties/spec/properties/reason";
    let patch = json!([{ "op": operation, "path": path, "value": { "type": "string" } }]);
    let patch: Patch<()> = Patch::Json(serde_json::from_value(patch).unwrap());
    definitions.patch(NAME, &PatchParams::default(), &patch).await.unwrap();
}

#[tokio::test]
async fn a_field_that_an_older_definition_lacks_is_refused_and_not_dropped() {
    let control_plane = own().await;
    let mut fixture = on(&control_plane, &[]).await;
    fixture.create_managed("web", 3).await;
    fixture.create("api", 3).await;
    let command = "replica-count-manager crd | kubectl apply --server-side -f -";
    let request = |fixture: &Fixture, name: &str| {
        let mut request = fixture.set_request(name, 4);
        request.reason = "sale".to_owned();
        request
    };
    change_reason(&control_plane, "remove").await;
    // An object that exists is patched, and another one is created.
    for name in ["web", "api"] {
        let refused = eventually("the older definition is in force", async || {
            let request = request(&fixture, name);
            match fixture.client.clone().set_deployment(request).await {
                Err(refused) => Ok(refused),
                Ok(_) => Err("stored"),
            }
        })
        .await;
        assert_eq!(refused.code(), Code::FailedPrecondition, "{refused:?}");
        assert!(refused.message().contains("have no spec.reason: "), "{refused:?}");
        assert!(refused.message().ends_with(command), "{refused:?}");
    }
    let (_, ready) = fixture.manager.get("/readyz").await.unwrap();
    assert!(ready.contains("have no spec.reason"), "{ready}");
    // What it has can be stored.
    assert_eq!(fixture.set("api", 4).await.generation, 1);
    change_reason(&control_plane, "add").await;
    eventually("the definition is in force", async || {
        fixture.client.clone().set_deployment(request(&fixture, "web")).await
    })
    .await;
    assert_eq!(fixture.get("web").await.unwrap().reason, "sale");
}

#[tokio::test]
async fn without_the_right_to_read_nothing_is_enforced() {
    let control_plane = own().await;
    let mut fixture = on(&control_plane, &[]).await;
    fixture.create_managed("web", 3).await;
    let bindings: Api<ClusterRoleBinding> = Api::all(control_plane.admin().await.unwrap());
    bindings.delete("replica-count-manager-store", &DeleteParams::default()).await.unwrap();
    wait_for_metric(&fixture.manager, "store_available 0").await;
    fixture.scale("web", 5).await;
    let read = fixture.wait_for("web", |answer| answer.current_replicas == Some(5)).await;
    assert_eq!(read.desired_replicas, Some(3), "reads go on");
    let refused = fixture.client.set_deployment(fixture.set_request("web", 4)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused:?}");
    assert_eq!(fixture.count("web").await, Some(5));
    control_plane.install_replica_counts().await.unwrap();
    fixture.wait_for_count("web", 3).await;
}
