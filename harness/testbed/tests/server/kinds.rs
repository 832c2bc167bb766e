//! Kinds other than Deployments: StatefulSets are managed in the same way, and neither kind is in the way of the other.

mod rights;

use std::fs;

use k8s_openapi::api::apps::v1::StatefulSet;
use k8s_openapi::api::autoscaling::v2::HorizontalPodAutoscaler;
use kube::api::{Api, Patch, PatchParams, PostParams};
use replica_count_api::proto::{self, DeploymentState, Kind};
use serde_json::json;
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::fixture::{Fixture, SOMEBODY, eventually, shared};

/// The StatefulSets of a fixture, through its server and behind its back.
pub(crate) struct StatefulSets<'a> {
    pub(crate) fixture: Fixture<'a>,
    api: Api<StatefulSet>,
}

impl<'a> StatefulSets<'a> {
    pub(crate) async fn of(fixture: Fixture<'a>) -> Self {
        let api = Api::namespaced(fixture.control_plane.admin().await.unwrap(), &fixture.namespace);
        Self { fixture, api }
    }

    async fn create(&self, name: &str, replicas: i32) {
        self.fixture.control_plane.stateful_set(&self.fixture.namespace, name, replicas).await.unwrap();
    }

    fn set_request(&self, name: &str, replicas: i32) -> proto::SetDeploymentRequest {
        proto::SetDeploymentRequest {
            kind: Kind::StatefulSet.into(),
            ..self.fixture.set_request(name, replicas)
        }
    }

    async fn set(&mut self, name: &str, replicas: i32) -> proto::SetDeploymentResponse {
        let request = self.set_request(name, replicas);
        self.fixture.client.set_deployment(request).await.unwrap().into_inner()
    }

    /// Creates a StatefulSet and manages it with the count it has.
    pub(crate) async fn create_managed(&mut self, name: &str, replicas: i32) {
        self.create(name, replicas).await;
        let answer = self.set(name, replicas).await;
        assert_eq!((answer.kind(), answer.old_replicas), (Kind::StatefulSet, Some(replicas)));
        self.wait_for(name, |answer| answer.state() == DeploymentState::InSync).await;
    }

    fn get_request(&self, name: &str) -> proto::GetDeploymentRequest {
        proto::GetDeploymentRequest {
            name: name.to_owned(),
            namespace: self.fixture.namespace.clone(),
            kind: Kind::StatefulSet.into(),
            ..Default::default()
        }
    }

    async fn wait_for(
        &self,
        name: &str,
        matches: impl Fn(&proto::GetDeploymentResponse) -> bool,
    ) -> proto::GetDeploymentResponse {
        eventually(&format!("Get shows {name} as expected"), async || {
            let answer = self.fixture.client.clone().get_deployment(self.get_request(name)).await;
            match answer.map(tonic::Response::into_inner) {
                Ok(answer) if matches(&answer) => Ok(answer),
                other => Err(other),
            }
        })
        .await
    }

    pub(crate) async fn scale(&self, name: &str, replicas: i32) {
        let parameters = PatchParams { field_manager: Some(SOMEBODY.to_owned()), ..PatchParams::default() };
        let patch = Patch::Merge(json!({ "spec": { "replicas": replicas } }));
        self.api.patch_scale(name, &parameters, &patch).await.unwrap();
    }

    async fn count(&self, name: &str) -> Option<i32> {
        self.api.get(name).await.unwrap().spec.unwrap().replicas
    }

    async fn wait_for_count(&self, name: &str, replicas: i32) {
        eventually(&format!("{name} has {replicas} replicas"), async || {
            let count = self.count(name).await;
            if count == Some(replicas) { Ok(()) } else { Err(count) }
        })
        .await;
    }

    /// Expects one drift to be repaired and `by` to be named.
    pub(crate) async fn check_repaired(&self, by: (&str, &str, &str), found: i32) {
        let answer = self.wait_for("db", |answer| answer.drift_count > 0).await;
        self.wait_for_count("db", 3).await;
        self.wait_for("db", |answer| answer.state() == DeploymentState::InSync).await;
        let drift = answer.last_drift.unwrap();
        assert_eq!((drift.by.as_str(), drift.operation.as_str(), drift.subresource.as_str()), by);
        assert_eq!((drift.from, drift.to), (Some(3), Some(found)));
    }
}

#[tokio::test]
async fn a_drift_by_kubectl_is_repaired() {
    let mut sets = StatefulSets::of(Fixture::new().await).await;
    sets.create_managed("db", 3).await;
    let output = sets.fixture.kubectl(["scale", "statefulset/db", "--replicas=7"]);
    assert!(output.status.success(), "{output:?}");
    sets.check_repaired(("kubectl", "Update", "scale"), 7).await;
    let metrics = sets.fixture.manager.metrics().await.unwrap();
    assert!(metrics.contains("replica_count_manager_repairs_total 1\n"), "{metrics}");
    let log = sets.fixture.manager.log().join("\n");
    assert!(log.contains(&format!("\"target\":\"{}/statefulset/db\"", sets.fixture.namespace)), "{log}");
}

#[tokio::test]
async fn a_drift_by_patch_is_repaired() {
    let mut sets = StatefulSets::of(Fixture::new().await).await;
    sets.create_managed("db", 3).await;
    let parameters = PatchParams { field_manager: Some("script".to_owned()), ..PatchParams::default() };
    let patch = Patch::Merge(json!({ "spec": { "replicas": 0 } }));
    sets.api.patch("db", &parameters, &patch).await.unwrap();
    sets.check_repaired(("script", "Update", ""), 0).await;
}

#[tokio::test]
async fn a_drift_by_forced_server_side_apply_is_repaired() {
    let mut sets = StatefulSets::of(Fixture::new().await).await;
    sets.create_managed("db", 3).await;
    let mut spec = serde_json::to_value(sets.api.get("db").await.unwrap().spec).unwrap();
    spec["replicas"] = 5.into();
    let manifest =
        json!({ "apiVersion": "apps/v1", "kind": "StatefulSet", "metadata": { "name": "db" }, "spec": spec });
    sets.api.patch("db", &PatchParams::apply("helm").force(), &Patch::Apply(manifest)).await.unwrap();
    sets.check_repaired(("helm", "Apply", ""), 5).await;
}

#[tokio::test]
async fn a_fight_is_damped() {
    let mut sets = StatefulSets::of(Fixture::new().await).await;
    sets.create_managed("db", 3).await;
    let answer = eventually("it is contested", async || {
        sets.scale("db", 7).await;
        let answer = sets.wait_for("db", |answer| answer.current_replicas.is_some()).await;
        if answer.state() == DeploymentState::Contested { Ok(answer) } else { Err(answer) }
    })
    .await;
    assert_eq!(answer.contest.unwrap().by, SOMEBODY);
}

#[tokio::test]
async fn what_is_ready_is_shown() {
    let mut sets = StatefulSets::of(Fixture::new().await).await;
    sets.create_managed("db", 3).await;
    let status = json!({ "status": { "replicas": 3, "readyReplicas": 2, "currentRevision": "db-1" } });
    sets.api.patch_status("db", &PatchParams::default(), &Patch::Merge(status)).await.unwrap();
    sets.wait_for("db", |answer| answer.ready_replicas == Some(2)).await;
}

#[tokio::test]
async fn kinds_of_one_name_are_two_targets() {
    let mut sets = StatefulSets::of(Fixture::new().await).await;
    sets.create_managed("web", 2).await;
    sets.fixture.create_managed("web", 5).await;
    sets.scale("web", 7).await;
    sets.wait_for("web", |answer| answer.drift_count == 1).await;
    sets.wait_for_count("web", 2).await;
    sets.fixture.wait_for_count("web", 5).await;
    assert_eq!(sets.fixture.get("web").await.unwrap().drift_count, 0);

    // After a restart, both are what they were.
    let StatefulSets { fixture, .. } = sets;
    let store = fs::read_to_string(fixture.options.store()).unwrap();
    let entry =
        format!(r#"{{"name":"web","namespace":"{}","kind":"StatefulSet","replicas":2,"#, fixture.namespace);
    assert!(store.contains(&entry), "{store}");
    let namespace = fixture.namespace.clone();
    let mut sets = StatefulSets::of(
        fixture
            .restart(async |deployments| {
                let sets: Api<StatefulSet> = Api::namespaced(deployments.clone().into_client(), &namespace);
                let patch = Patch::Merge(json!({ "spec": { "replicas": 9 } }));
                sets.patch_scale("web", &PatchParams::default(), &patch).await.unwrap();
                deployments.patch_scale("web", &PatchParams::default(), &patch).await.unwrap();
            })
            .await,
    )
    .await;
    sets.wait_for_count("web", 2).await;
    sets.fixture.wait_for_count("web", 5).await;

    let delete = proto::DeleteDeploymentRequest {
        name: "web".to_owned(),
        namespace: sets.fixture.namespace.clone(),
        kind: Kind::StatefulSet.into(),
        expected_generation: None,
        ..Default::default()
    };
    let deleted = sets.fixture.client.delete_deployment(delete).await.unwrap().into_inner();
    assert_eq!((deleted.kind(), deleted.old_replicas), (Kind::StatefulSet, Some(2)));
    assert_eq!(sets.fixture.get("web").await.unwrap().desired_replicas, Some(5));
}

#[tokio::test]
async fn lists_have_the_kinds_that_were_asked_for() {
    let mut sets = StatefulSets::of(Fixture::new().await).await;
    for name in ["a", "b"] {
        sets.create_managed(name, 1).await;
        sets.fixture.create_managed(name, 1).await;
    }
    let (deployment, stateful_set) = (Kind::Deployment, Kind::StatefulSet);
    let both = [("a", deployment), ("a", stateful_set), ("b", deployment), ("b", stateful_set)];
    let check = async |kinds: &[Kind], page_token: &str, expected: &[(&str, Kind)]| {
        for include_unmanaged in [false, true] {
            let request = proto::ListDeploymentsRequest {
                namespace: sets.fixture.namespace.clone(),
                kinds: kinds.iter().map(|kind| (*kind).into()).collect(),
                page_token: page_token.to_owned(),
                include_unmanaged,
                ..proto::ListDeploymentsRequest::default()
            };
            let answer = sets.fixture.client.clone().list_deployments(request).await.unwrap().into_inner();
            let rows = answer.deployments_replica_config;
            let rows: Vec<_> = rows.iter().map(|row| (row.name.as_str(), row.kind())).collect();
            assert_eq!(rows, expected, "{kinds:?} after {page_token:?}");
        }
    };
    check(&[], "", &[both[0], both[2]]).await;
    check(&[deployment], "", &[both[0], both[2]]).await;
    check(&[stateful_set], "", &[both[1], both[3]]).await;
    check(&[stateful_set, deployment], "", &both).await;
    // A token of a server that knew no other kinds.
    let old = format!("{}/a", sets.fixture.namespace);
    check(&[], &old, &[both[2]]).await;
    check(&[stateful_set, deployment], &old, &both[1..]).await;

    let request = proto::ListDeploymentsRequest {
        kinds: vec![stateful_set.into()],
        page_size: 1,
        ..proto::ListDeploymentsRequest::default()
    };
    let page = sets.fixture.client.clone().list_deployments(request).await.unwrap().into_inner();
    assert_eq!(page.next_page_token, format!("{}/statefulset/a", sets.fixture.namespace));
    check(&[stateful_set, deployment], &page.next_page_token, &both[2..]).await;
}

#[tokio::test]
async fn an_autoscaler_of_a_stateful_set_is_none_of_a_deployment() {
    let mut sets = StatefulSets::of(Fixture::new().await).await;
    sets.create("web", 3).await;
    sets.fixture.create_managed("web", 3).await;
    let autoscaler = serde_json::from_value(json!({
        "metadata": { "name": "autoscaler" },
        "spec": {
            "scaleTargetRef": { "apiVersion": "apps/v1", "kind": "StatefulSet", "name": "web" },
            "maxReplicas": 9,
        },
    }));
    let autoscalers: Api<HorizontalPodAutoscaler> = sets.fixture.autoscalers().await;
    autoscalers.create(&PostParams::default(), &autoscaler.unwrap()).await.unwrap();
    sets.wait_for("web", |answer| answer.autoscaler == "HorizontalPodAutoscaler/autoscaler").await;
    let refused = sets.fixture.client.set_deployment(sets.set_request("web", 5)).await.unwrap_err();
    assert_eq!(refused.get_details_error_info().unwrap().reason, "DEPLOYMENT_AUTOSCALED");
    assert!(refused.message().starts_with("StatefulSet "), "{refused}");
    sets.fixture.set("web", 4).await;
}

#[tokio::test]
async fn a_kind_that_is_not_managed_is_refused_and_kept() {
    let mut sets = StatefulSets::of(Fixture::new().await).await;
    sets.create_managed("db", 3).await;
    let StatefulSets { fixture: Fixture { options, control_plane, manager, .. }, .. } = sets;
    manager.terminate().await.unwrap();
    let options = options.argument("--kinds").argument("deployments");
    let mut sets = StatefulSets::of(Fixture::with_options(control_plane, options).await).await;
    let request = proto::ListDeploymentsRequest {
        kinds: vec![Kind::StatefulSet.into()],
        ..proto::ListDeploymentsRequest::default()
    };
    let rows = sets.fixture.client.list_deployments(request.clone()).await.unwrap().into_inner();
    let [row] = &rows.deployments_replica_config[..] else { panic!("{rows:?}") };
    assert_eq!((row.name.as_str(), row.state()), ("db", DeploymentState::OutOfScope));

    let set = sets.fixture.client.set_deployment(sets.set_request("web", 5)).await.unwrap_err();
    let namespace = sets.fixture.namespace.clone();
    let all = proto::ListDeploymentsRequest { include_unmanaged: true, ..request };
    let list = sets.fixture.client.list_deployments(all.clone()).await.unwrap_err();
    let of_namespace = proto::ListDeploymentsRequest { namespace, ..all };
    let list_of_namespace = sets.fixture.client.list_deployments(of_namespace).await.unwrap_err();
    for refused in [set, list, list_of_namespace] {
        assert_eq!(refused.code(), Code::PermissionDenied);
        assert_eq!(refused.get_details_error_info().unwrap().reason, "KIND_NOT_MANAGED");
    }
    let metrics = sets.fixture.manager.metrics().await.unwrap();
    assert!(!metrics.contains("statefulset"), "{metrics}");
}

#[tokio::test]
async fn only_other_kinds_may_be_managed() {
    let fixture = Fixture::with(shared().await, &["--kinds", "statefulsets"]).await;
    let mut sets = StatefulSets::of(fixture).await;
    sets.create_managed("db", 3).await;
    sets.scale("db", 1).await;
    sets.wait_for_count("db", 3).await;
    let refused = sets.fixture.client.set_deployment(sets.fixture.set_request("web", 5)).await.unwrap_err();
    assert_eq!(refused.get_details_error_info().unwrap().reason, "KIND_NOT_MANAGED");
}
