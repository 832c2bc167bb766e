//! Autoscalers: Set refuses their targets; one that appears later is reported, and repairs against it are damped.

use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::rbac::v1::Role;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use replica_count_api::proto::{self, DeploymentState};
use replica_count_testbed::Options;
use serde_json::json;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::fixture::{Fixture, eventually, own_with, testbed};

const AUTOSCALER: &str = "HorizontalPodAutoscaler/autoscaler";

/// The log lines that contain `words`.
fn log_lines(fixture: &Fixture<'_>, words: &str) -> Vec<String> {
    fixture.manager.log().into_iter().filter(|line| line.contains(words)).collect()
}

#[tokio::test]
async fn a_set_is_refused_unless_it_allows_the_autoscaler() {
    let mut fixture = Fixture::new().await;
    fixture.create("web", 3).await;
    fixture.autoscale("autoscaler", "web", 1).await;
    let answer = fixture.wait_for("web", |answer| answer.autoscaler == AUTOSCALER).await;
    assert_eq!(answer.state(), DeploymentState::Unmanaged);

    for dry_run in [false, true] {
        let request = proto::SetDeploymentRequest { dry_run, ..fixture.set_request("web", 5) };
        let refused = fixture.client.set_deployment(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert_eq!(refused.get_details_error_info().unwrap().reason, "DEPLOYMENT_AUTOSCALED");
        assert!(refused.message().contains(AUTOSCALER), "{refused}");
    }
    assert_eq!(fixture.get("web").await.unwrap().desired_replicas, None);

    let request = proto::SetDeploymentRequest { allow_autoscaled: true, ..fixture.set_request("web", 5) };
    fixture.client.set_deployment(request).await.unwrap();
    fixture.wait_for_count("web", 5).await;
    let answer = fixture.wait_for("web", |answer| answer.state() == DeploymentState::Autoscaled).await;
    assert_eq!(answer.contest, None, "there is no conflict");

    fixture.autoscalers().await.delete("autoscaler", &DeleteParams::default()).await.unwrap();
    let answer = fixture.wait_for("web", |answer| answer.state() == DeploymentState::InSync).await;
    assert_eq!(answer.autoscaler, "");
    fixture.set("web", 4).await;
}

#[tokio::test]
async fn one_that_appears_later_is_reported_and_damped_from_the_first_conflict() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    fixture.autoscale("autoscaler", "web", 1).await;
    fixture.wait_for_state("web", DeploymentState::Autoscaled).await;
    let metrics = fixture.manager.metrics().await.unwrap();
    assert!(metrics.contains("replica_count_manager_autoscaled_targets 1.0\n"), "{metrics}");

    fixture.scale("web", 7).await;
    fixture.wait_for("web", |answer| answer.drift_count == 1 && answer.current_replicas == Some(3)).await;
    fixture.scale("web", 8).await;
    let answer = fixture.wait_for("web", |answer| answer.drift_count == 2).await;
    assert_eq!(answer.state(), DeploymentState::Autoscaled);
    assert!(answer.contest.unwrap().until.is_some(), "the second repair waits");
    assert_eq!(fixture.count("web").await, Some(8));
    assert_eq!(log_lines(&fixture, AUTOSCALER).len(), 1, "{:#?}", log_lines(&fixture, AUTOSCALER));
    fixture.wait_for_count("web", 3).await;
}

#[tokio::test]
async fn repairs_against_the_kubernetes_autoscaler_are_damped() {
    let control_plane = own_with(Options::new(testbed()).with_controllers()).await;
    let mut fixture = Fixture::with(&control_plane, &[]).await;
    fixture.create_managed("web", 2).await;
    fixture.autoscale("autoscaler", "web", 4).await;
    let answer = fixture.wait_for("web", |answer| answer.drift_count >= 3).await;
    assert_eq!((answer.state(), answer.autoscaler.as_str()), (DeploymentState::Autoscaled, AUTOSCALER));
    assert_eq!(answer.contest.unwrap().by, "kube-controller-manager");
    assert_eq!(log_lines(&fixture, "\"contested\"").len(), 1);
    let metrics = fixture.manager.metrics().await.unwrap();
    assert!(metrics.contains("replica_count_manager_repairs_total 2\n"), "{metrics}");

    fixture.autoscalers().await.delete("autoscaler", &DeleteParams::default()).await.unwrap();
    fixture.wait_for_count("web", 2).await;
    fixture.wait_for_state("web", DeploymentState::InSync).await;
}

#[tokio::test]
async fn without_the_right_to_watch_them_the_server_still_works() {
    let fixture = Fixture::limited().await;
    let namespace = fixture.namespace.clone();
    let admin = fixture.control_plane.admin().await.unwrap();
    let roles: Api<Role> = Api::namespaced(admin.clone(), &namespace);
    let rules = roles.get("replica-count-manager").await.unwrap().rules.unwrap();
    let may_list = async || {
        let review = serde_json::from_value(json!({ "spec": {
            "user": format!("system:serviceaccount:{namespace}:replica-count-manager"),
            "resourceAttributes": {
                "verb": "list", "group": "autoscaling", "resource": "horizontalpodautoscalers", "namespace": namespace,
            },
        } }));
        let reviews: Api<SubjectAccessReview> = Api::all(admin.clone());
        let answer = reviews.create(&PostParams::default(), &review.unwrap()).await.unwrap();
        answer.status.unwrap().allowed
    };
    let grant = async |rules: &[_]| {
        let patch = Patch::Merge(json!({ "rules": rules }));
        roles.patch("replica-count-manager", &PatchParams::default(), &patch).await.unwrap();
    };

    let mut fixture = fixture
        .restart(async |_| {
            grant(&rules[..2]).await;
            eventually(
                "the right is gone",
                async || if may_list().await { Err("it is there") } else { Ok(()) },
            )
            .await;
        })
        .await;
    fixture.create_managed("web", 3).await;
    fixture.scale("web", 5).await;
    fixture.wait_for_count("web", 3).await;
    fixture.autoscale("autoscaler", "web", 1).await;
    let lines = eventually("the log reports it", async || {
        let lines = log_lines(&fixture, "watch refused");
        if lines.is_empty() { Err("nothing") } else { Ok(lines) }
    })
    .await;
    assert!(matches!(&lines[..], [line] if line.contains("horizontalpodautoscalers")), "{lines:#?}");
    let metrics = fixture.manager.metrics().await.unwrap();
    let forbidden = "replica_count_manager_autoscaler_watch_interruptions_total{reason=\"forbidden\"} ";
    assert!(metrics.contains(forbidden) && !metrics.contains(&format!("{forbidden}0\n")), "{metrics}");
    assert_eq!(fixture.get("web").await.unwrap().autoscaler, "");

    grant(&rules).await;
    fixture.wait_for_state("web", DeploymentState::Autoscaled).await;
}
