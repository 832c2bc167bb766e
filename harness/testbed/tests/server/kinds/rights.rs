//! A server that may not see StatefulSets goes on with Deployments, and says what is missing.

use k8s_openapi::api::authorization::v1::SubjectAccessReview;
use k8s_openapi::api::rbac::v1::{PolicyRule, Role};
use kube::api::{Api, Patch, PatchParams, PostParams};
use replica_count_api::proto::{self, DeploymentState, Kind};
use serde_json::json;
use tonic::Code;
use tonic_types::StatusExt as _;

use super::StatefulSets;
use crate::fixture::{Fixture, eventually};

/// The role of a server that is limited to its namespace.
struct Rights {
    namespace: String,
    roles: Api<Role>,
    reviews: Api<SubjectAccessReview>,
    all: Vec<PolicyRule>,
}

impl Rights {
    async fn of(fixture: &Fixture<'_>) -> Self {
        let (namespace, admin) = (fixture.namespace.clone(), fixture.control_plane.admin().await.unwrap());
        let roles: Api<Role> = Api::namespaced(admin.clone(), &namespace);
        let all = roles.get("replica-count-manager").await.unwrap().rules.unwrap();
        Self { namespace, roles, reviews: Api::all(admin), all }
    }

    /// Gives the server these resources of `apps` only.
    async fn limit_to(&self, resource: &str) {
        let mut rules = self.all.clone();
        for rule in &mut rules {
            if rule.api_groups.as_deref() == Some(&["apps".to_owned()]) {
                let resources = rule.resources.iter().flatten();
                let kept = resources.filter(|kept| kept.split('/').next() == Some(resource));
                rule.resources = Some(kept.cloned().collect());
            }
        }
        self.grant(&rules).await;
        for kind in ["deployments", "statefulsets"] {
            eventually("the API server applies the rights", async || match self.may_list(kind).await {
                may_list if may_list == (kind == resource) => Ok(()),
                other => Err(other),
            })
            .await;
        }
    }

    async fn may_list(&self, resource: &str) -> bool {
        let review = serde_json::from_value(json!({ "spec": {
            "user": format!("system:serviceaccount:{}:replica-count-manager", self.namespace),
            "resourceAttributes": {
                "verb": "list", "group": "apps", "resource": resource, "namespace": self.namespace,
            },
        } }));
        let answer = self.reviews.create(&PostParams::default(), &review.unwrap()).await.unwrap();
        answer.status.unwrap().allowed
    }

    async fn grant_all(&self) {
        self.grant(&self.all).await;
    }

    async fn grant(&self, rules: &[PolicyRule]) {
        let patch = Patch::Merge(json!({ "rules": rules }));
        self.roles.patch("replica-count-manager", &PatchParams::default(), &patch).await.unwrap();
    }
}

/// The lines of the log about refused watches of StatefulSets, with their levels.
async fn refusals(fixture: &Fixture<'_>) -> Vec<String> {
    eventually("the refused watch is in the log", async || {
        let log = fixture.manager.log().into_iter();
        let lines: Vec<String> = log.filter(|line| line.contains("watch refused")).collect();
        if lines.is_empty() { Err("nothing") } else { Ok(lines) }
    })
    .await
}

#[tokio::test]
async fn with_no_count_stored_it_is_one_line_of_information() {
    let fixture = Fixture::limited().await;
    let rights = Rights::of(&fixture).await;
    let fixture = fixture.restart(async |_| rights.limit_to("deployments").await).await;
    let mut sets = StatefulSets::of(fixture).await;
    let lines = refusals(&sets.fixture).await;
    let [line] = &lines[..] else { panic!("{lines:#?}") };
    assert!(line.contains("\"INFO\"") && line.contains("\"watched\":\"statefulsets\""), "{line}");
    sets.fixture.create_managed("web", 3).await;
    sets.fixture.scale("web", 5).await;
    sets.fixture.wait_for_count("web", 3).await;

    for allow_missing in [false, true] {
        let request = proto::SetDeploymentRequest { allow_missing, ..sets.set_request("db", 3) };
        let refused = sets.fixture.client.set_deployment(request).await.unwrap_err();
        assert_eq!(refused.code(), Code::FailedPrecondition);
        assert_eq!(refused.get_details_error_info().unwrap().reason, "KIND_NOT_READABLE");
        assert!(refused.message().contains("get, list and watch of statefulsets.apps"), "{refused}");
        assert!(!refused.message().contains("system:serviceaccount"), "{refused}");
    }
    rights.grant_all().await;
    sets.create("db", 3).await;
    sets.wait_for("db", |answer| answer.state() == DeploymentState::Unmanaged).await;
    sets.set("db", 4).await;
    sets.wait_for_count("db", 4).await;
}

#[tokio::test]
async fn with_a_count_stored_it_is_an_error_and_the_state_is_unknown() {
    let mut sets = StatefulSets::of(Fixture::limited().await).await;
    sets.create_managed("db", 3).await;
    sets.fixture.create_managed("web", 3).await;
    let rights = Rights::of(&sets.fixture).await;
    let StatefulSets { fixture, .. } = sets;
    let mut sets =
        StatefulSets::of(fixture.restart(async |_| rights.limit_to("deployments").await).await).await;
    let lines = refusals(&sets.fixture).await;
    let [line] = &lines[..] else { panic!("{lines:#?}") };
    assert!(line.contains("\"ERROR\"") && line.contains("\"managed\":1"), "{line}");

    let answer = sets.wait_for("db", |answer| answer.desired_replicas == Some(3)).await;
    assert_eq!((answer.state(), answer.current_replicas), (DeploymentState::Unknown, None));
    assert!(answer.state_reason.contains("refuses to show StatefulSets"), "{answer:?}");
    let request = proto::ListDeploymentsRequest {
        kinds: vec![Kind::StatefulSet.into(), Kind::Deployment.into()],
        ..proto::ListDeploymentsRequest::default()
    };
    let rows = sets.fixture.client.list_deployments(request).await.unwrap().into_inner();
    let rows: Vec<_> = rows
        .deployments_replica_config
        .iter()
        .map(|row| (row.name.as_str(), row.state(), row.state_reason.is_empty()))
        .collect();
    assert_eq!(rows, [("db", DeploymentState::Unknown, false), ("web", DeploymentState::InSync, true)]);
    let metrics = sets.fixture.manager.metrics().await.unwrap();
    for expected in [
        "replica_count_manager_unreadable_targets 1.0\n",
        "replica_count_manager_statefulset_watch_interruptions_total{reason=\"forbidden\"} ",
    ] {
        assert!(metrics.contains(expected), "{expected} is not in {metrics}");
    }
    let refused = sets.fixture.client.set_deployment(sets.set_request("db", 4)).await.unwrap_err();
    assert_eq!(refused.code(), Code::FailedPrecondition);

    rights.grant_all().await;
    sets.wait_for("db", |answer| answer.state() == DeploymentState::InSync).await;
    let metrics = sets.fixture.manager.metrics().await.unwrap();
    assert!(metrics.contains("replica_count_manager_unreadable_targets 0.0\n"), "{metrics}");
}

#[tokio::test]
async fn without_the_right_to_see_deployments_it_goes_on_with_stateful_sets() {
    let fixture = Fixture::limited().await;
    let rights = Rights::of(&fixture).await;
    let fixture = fixture.restart(async |_| rights.limit_to("statefulsets").await).await;
    let mut sets = StatefulSets::of(fixture).await;
    sets.create_managed("db", 3).await;
    sets.scale("db", 0).await;
    sets.wait_for_count("db", 3).await;
}

#[tokio::test]
async fn a_right_that_is_withdrawn_counts_like_one_that_was_never_given() {
    let mut sets = StatefulSets::of(Fixture::limited().await).await;
    sets.create_managed("db", 3).await;
    let rights = Rights::of(&sets.fixture).await;
    rights.limit_to("deployments").await;
    let lines = refusals(&sets.fixture).await;
    let [line] = &lines[..] else { panic!("{lines:#?}") };
    assert!(line.contains("\"ERROR\"") && line.contains("\"managed\":1"), "{line}");
    let answer = sets.wait_for("db", |answer| answer.state() == DeploymentState::Unknown).await;
    assert_eq!((answer.desired_replicas, answer.current_replicas), (Some(3), None));
    assert!(answer.state_reason.contains("refuses to show StatefulSets"), "{answer:?}");
    let metrics = sets.fixture.manager.metrics().await.unwrap();
    assert!(metrics.contains("replica_count_manager_unreadable_targets 1.0\n"), "{metrics}");
    let refused = sets.fixture.client.set_deployment(sets.set_request("db", 4)).await.unwrap_err();
    assert_eq!(refused.get_details_error_info().unwrap().reason, "KIND_NOT_READABLE");
    sets.fixture.create_managed("web", 3).await;

    // A change that nobody saw is found when the right is back.
    sets.scale("db", 7).await;
    rights.grant_all().await;
    sets.wait_for_count("db", 3).await;
    sets.wait_for("db", |answer| answer.state() == DeploymentState::InSync).await;
}
