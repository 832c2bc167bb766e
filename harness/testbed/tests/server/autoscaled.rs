//! Autoscalers: Set refuses what one targets, and one that appears later is told of and fought with restraint.

use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::rbac::v1::Role;
use kube::api::{Api, DeleteParams, Patch, PatchParams, PostParams};
use replica_count_api::proto::{self, DeploymentState};
use replica_count_testbed::Options;
use serde_json::json;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::scene::{Scene, eventually, own_with, testbed};

const AUTOSCALER: &str = "HorizontalPodAutoscaler/autoscaler";

/// The lines of the log that have these words.
fn told(scene: &Scene<'_>, words: &str) -> Vec<String> {
    scene.manager.log().into_iter().filter(|line| line.contains(words)).collect()
}

#[tokio::test]
async fn a_set_is_refused_unless_it_allows_the_autoscaler() {
    let mut scene = Scene::new().await;
    scene.create("web", 3).await;
    scene.autoscale("autoscaler", "web", 1).await;
    let answer = scene.until("web", |answer| answer.autoscaler == AUTOSCALER).await;
    assert_eq!(answer.state(), DeploymentState::Unmanaged);

    for dry_run in [false, true] {
        let request = proto::SetDeploymentRequest { dry_run, ..scene.set_request("web", 5) };
        let refused = scene.client.set_deployment(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert_eq!(refused.get_details_error_info().unwrap().reason, "DEPLOYMENT_AUTOSCALED");
        assert!(refused.message().contains(AUTOSCALER), "{refused}");
    }
    assert_eq!(scene.get("web").await.unwrap().desired_replicas, None);

    let request = proto::SetDeploymentRequest { allow_autoscaled: true, ..scene.set_request("web", 5) };
    scene.client.set_deployment(request).await.unwrap();
    scene.until_count("web", 5).await;
    let answer = scene.until("web", |answer| answer.state() == DeploymentState::Autoscaled).await;
    assert_eq!(answer.contest, None, "nobody fights");

    scene.autoscalers().await.delete("autoscaler", &DeleteParams::default()).await.unwrap();
    let answer = scene.until("web", |answer| answer.state() == DeploymentState::InSync).await;
    assert_eq!(answer.autoscaler, "");
    scene.set("web", 4).await;
}

#[tokio::test]
async fn one_that_appears_later_is_told_and_damped_from_the_first_fight_on() {
    let mut scene = Scene::new().await;
    scene.create_managed("web", 3).await;
    scene.autoscale("autoscaler", "web", 1).await;
    scene.until_state("web", DeploymentState::Autoscaled).await;
    let metrics = scene.manager.metrics().await.unwrap();
    assert!(metrics.contains("replica_count_manager_autoscaled_targets 1.0\n"), "{metrics}");

    scene.scale("web", 7).await;
    scene.until("web", |answer| answer.drift_count == 1 && answer.current_replicas == Some(3)).await;
    scene.scale("web", 8).await;
    let answer = scene.until("web", |answer| answer.drift_count == 2).await;
    assert_eq!(answer.state(), DeploymentState::Autoscaled);
    assert!(answer.contest.unwrap().until.is_some(), "the second repair waits");
    assert_eq!(scene.count("web").await, Some(8));
    assert_eq!(told(&scene, AUTOSCALER).len(), 1, "{:#?}", told(&scene, AUTOSCALER));
    scene.until_count("web", 3).await;
}

#[tokio::test]
async fn the_controller_of_kubernetes_is_fought_with_restraint() {
    let control_plane = own_with(Options::new(testbed()).with_controllers()).await;
    let mut scene = Scene::with(&control_plane, &[]).await;
    scene.create_managed("web", 2).await;
    scene.autoscale("autoscaler", "web", 4).await;
    let answer = scene.until("web", |answer| answer.drift_count >= 3).await;
    assert_eq!((answer.state(), answer.autoscaler.as_str()), (DeploymentState::Autoscaled, AUTOSCALER));
    assert_eq!(answer.contest.unwrap().by, "kube-controller-manager");
    assert_eq!(told(&scene, "\"contested\"").len(), 1);
    let metrics = scene.manager.metrics().await.unwrap();
    assert!(metrics.contains("replica_count_manager_repairs_total 2\n"), "{metrics}");

    scene.autoscalers().await.delete("autoscaler", &DeleteParams::default()).await.unwrap();
    scene.until_count("web", 2).await;
    scene.until_state("web", DeploymentState::InSync).await;
}

#[tokio::test]
async fn without_the_right_to_see_them_the_server_goes_on() {
    let scene = Scene::limited().await;
    let namespace = scene.namespace.clone();
    let admin = scene.control_plane.admin().await.unwrap();
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

    let mut scene = scene
        .restart(async |_| {
            grant(&rules[..2]).await;
            eventually(
                "the right is gone",
                async || if may_list().await { Err("it is there") } else { Ok(()) },
            )
            .await;
        })
        .await;
    scene.create_managed("web", 3).await;
    scene.scale("web", 5).await;
    scene.until_count("web", 3).await;
    scene.autoscale("autoscaler", "web", 1).await;
    let told = eventually("the log says so", async || {
        let told = told(&scene, "watch forbidden");
        if told.is_empty() { Err("nothing") } else { Ok(told) }
    })
    .await;
    assert!(matches!(&told[..], [line] if line.contains("horizontalpodautoscalers")), "{told:#?}");
    let metrics = scene.manager.metrics().await.unwrap();
    let forbidden = "replica_count_manager_autoscaler_watch_interruptions_total{reason=\"forbidden\"} ";
    assert!(metrics.contains(forbidden) && !metrics.contains(&format!("{forbidden}0\n")), "{metrics}");
    assert_eq!(scene.get("web").await.unwrap().autoscaler, "");

    grant(&rules).await;
    scene.until_state("web", DeploymentState::Autoscaled).await;
}
