//! A server limited to one namespace needs no rights in any other.

use k8s_openapi::api::apps::v1::Deployment;
use k8s_openapi::api::authorization::v1::{
    ResourceAttributes, SelfSubjectAccessReview, SelfSubjectAccessReviewSpec,
};
use kube::api::{Api, PostParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use replica_count_api::proto::{self, DeploymentState};
use replica_count_testbed::control_plane::Scope;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::fixture::Fixture;

#[tokio::test]
async fn its_namespace_is_managed() {
    let mut fixture = Fixture::limited().await;
    fixture.create_managed("web", 3).await;
    fixture.scale("web", 7).await;
    let answer = fixture.wait_for("web", |answer| answer.drift_count == 1).await;
    assert_eq!(answer.desired_replicas, Some(3));
    fixture.wait_for_count("web", 3).await;
    assert_eq!(fixture.manager.get("/healthz").await.unwrap().0, 200);

    fixture.create("other", 1).await;
    fixture.wait_for_state("other", DeploymentState::Unmanaged).await;
    let all = proto::ListDeploymentsRequest { include_unmanaged: true, ..Default::default() };
    let rows = fixture.client.list_deployments(all).await.unwrap().into_inner().deployments_replica_config;
    let names: Vec<_> = rows.iter().map(|row| (row.namespace.as_str(), row.name.as_str())).collect();
    let namespace = fixture.namespace.as_str();
    assert_eq!(names, [(namespace, "other"), (namespace, "web")]);
}

#[tokio::test]
async fn other_namespaces_are_refused() {
    let mut fixture = Fixture::limited().await;
    let other = fixture.control_plane.namespace("other").await.unwrap();
    fixture.control_plane.deployment(&other, "web", 1).await.unwrap();
    let (limit, namespace) = (fixture.namespace.clone(), other.clone());
    let check = |status: Status| {
        assert_eq!(status.code(), Code::PermissionDenied, "{status}");
        assert_eq!(status.get_details_error_info().unwrap().reason, "NAMESPACE_NOT_MANAGED");
        for name in [&namespace, &limit] {
            assert!(status.message().contains(name), "{status}");
        }
    };
    let client = &mut fixture.client;
    let (name, namespace) = ("web".to_owned(), other);
    let get = proto::GetDeploymentRequest {
        name: name.clone(),
        namespace: namespace.clone(),
        ..proto::GetDeploymentRequest::default()
    };
    check(client.get_deployment(get).await.unwrap_err());
    let list = proto::ListDeploymentsRequest {
        namespace: namespace.clone(),
        include_unmanaged: true,
        ..Default::default()
    };
    check(client.list_deployments(list).await.unwrap_err());
    let set = proto::SetDeploymentRequest {
        name: name.clone(),
        namespace: namespace.clone(),
        replicas: Some(3),
        ..Default::default()
    };
    check(client.set_deployment(set.clone()).await.unwrap_err());
    let missing = proto::SetDeploymentRequest { allow_missing: true, ..set };
    check(client.set_deployment(missing).await.unwrap_err());
    let mode = proto::EnforcementMode::Ignore.into();
    let enforce = proto::SetEnforcementRequest { name, namespace, mode, ..Default::default() };
    check(client.set_enforcement(enforce).await.unwrap_err());
}

#[tokio::test]
async fn a_setting_of_another_namespace_is_shown_and_can_be_deleted() {
    let fixture = Fixture::limited().await;
    let store = fixture.options.store();
    let entry = r#"[{"name": "web", "namespace": "elsewhere", "replicas": 3}]"#;
    let mut fixture = fixture.restart(async |_| std::fs::write(store, entry).unwrap()).await;
    let get = proto::GetDeploymentRequest {
        name: "web".to_owned(),
        namespace: "elsewhere".to_owned(),
        ..proto::GetDeploymentRequest::default()
    };
    let answer = fixture.client.get_deployment(get).await.unwrap().into_inner();
    assert_eq!((answer.state(), answer.desired_replicas), (DeploymentState::OutOfScope, Some(3)));
    let delete = proto::DeleteDeploymentRequest {
        name: "web".to_owned(),
        namespace: "elsewhere".to_owned(),
        expected_generation: None,
        ..proto::DeleteDeploymentRequest::default()
    };
    let answer = fixture.client.delete_deployment(delete).await.unwrap().into_inner();
    assert_eq!(answer.old_replicas, Some(3));
}

/// The rights of its account: the verb, the group and the resource.
const NEEDED: &[(&str, &str, &str)] = &[
    ("get", "apps", "deployments"),
    ("list", "apps", "deployments"),
    ("watch", "apps", "deployments"),
    ("patch", "apps", "deployments/scale"),
    ("update", "apps", "deployments/scale"),
    ("get", "apps", "statefulsets"),
    ("list", "apps", "statefulsets"),
    ("watch", "apps", "statefulsets"),
    ("patch", "apps", "statefulsets/scale"),
    ("update", "apps", "statefulsets/scale"),
    ("list", "autoscaling", "horizontalpodautoscalers"),
    ("watch", "autoscaling", "horizontalpodautoscalers"),
];

/// Some of the rights that it does not have.
const OTHERS: &[(&str, &str, &str)] = &[
    ("patch", "apps", "deployments"),
    ("update", "apps", "deployments"),
    ("delete", "apps", "deployments"),
    ("create", "apps", "deployments"),
    ("get", "apps", "deployments/scale"),
    ("patch", "apps", "deployments/status"),
    ("patch", "apps", "statefulsets"),
    ("patch", "apps", "replicasets/scale"),
    ("get", "autoscaling", "horizontalpodautoscalers"),
    ("patch", "autoscaling", "horizontalpodautoscalers"),
    ("get", "", "secrets"),
    ("list", "", "pods"),
    ("create", "", "events"),
    ("*", "*", "*"),
];

#[tokio::test]
async fn its_account_has_no_other_rights() {
    let fixture = Fixture::limited().await;
    let scope = Scope::Namespace(fixture.namespace.clone());
    let kubeconfig = fixture.control_plane.manager_kubeconfig(&scope).await.unwrap();
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    let account = kube::Client::try_from(config).unwrap();

    let reviews: Api<SelfSubjectAccessReview> = Api::all(account.clone());
    let may = async |verb: &str, group: &str, resource: &str, namespace: &str| {
        let (resource, subresource) = resource.split_once('/').unwrap_or((resource, ""));
        let attributes = ResourceAttributes {
            verb: Some(verb.to_owned()),
            group: Some(group.to_owned()),
            resource: Some(resource.to_owned()),
            subresource: Some(subresource.to_owned()),
            namespace: Some(namespace.to_owned()),
            ..ResourceAttributes::default()
        };
        let spec = SelfSubjectAccessReviewSpec {
            resource_attributes: Some(attributes),
            ..SelfSubjectAccessReviewSpec::default()
        };
        let review = SelfSubjectAccessReview { spec, ..SelfSubjectAccessReview::default() };
        reviews.create(&PostParams::default(), &review).await.unwrap().status.unwrap().allowed
    };
    for (verb, group, resource) in NEEDED {
        assert!(may(verb, group, resource, &fixture.namespace).await, "{verb} {resource}");
        for elsewhere in ["", "default", "kube-system"] {
            assert!(!may(verb, group, resource, elsewhere).await, "{verb} {resource} in {elsewhere:?}");
        }
    }
    for (verb, group, resource) in OTHERS {
        for namespace in [fixture.namespace.as_str(), ""] {
            assert!(
                !may(verb, group, resource, namespace).await,
                "{verb} {group}/{resource} in {namespace:?}"
            );
        }
    }

    let everywhere: Api<Deployment> = Api::all(account);
    let refused = everywhere.list(&kube::api::ListParams::default()).await;
    assert!(matches!(&refused, Err(kube::Error::Api(status)) if status.code == 403), "{refused:?}");
}
