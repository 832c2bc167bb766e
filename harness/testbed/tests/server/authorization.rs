//! With `--authorization-mode=rbac`, the rules of Kubernetes say who may do what.

use std::time::Duration;

use k8s_openapi::api::rbac::v1::{ClusterRole, ClusterRoleBinding, Role, RoleBinding};
use kube::api::{Api, DeleteParams, PostParams};
use replica_count_api::proto;
use replica_count_testbed::control_plane::Scope;
use replica_count_testbed::manager::Client;
use replica_count_testbed::{ControlPlane, Manager};
use serde_json::{Value, json};
use tokio::time::Instant;
use tonic::{Code, Status};
use tonic_types::StatusExt as _;

use crate::fixture::{Fixture, eventually, options, own, shared, wait_for_metric};

const ALL: [&str; 6] = ["get", "list", "watch", "create", "update", "delete"];
/// How long an answer of Kubernetes counts.
const KEPT: Duration = Duration::from_secs(10);

/// A server in the mode, whose own client may do nothing yet.
async fn start(control_plane: &ControlPlane) -> Fixture<'_> {
    let options = options(control_plane, &Scope::Cluster, &["--authorization-mode", "rbac"]).await;
    Fixture::with_options(control_plane, options).await
}

/// A client with a new certificate.
async fn client(manager: &Manager, user: &str, groups: &[&str]) -> Client {
    manager.certificates().issue(user, groups).unwrap();
    manager.client_as(user).await.unwrap()
}

fn object<T: serde::de::DeserializeOwned>(json: Value) -> T {
    serde_json::from_value(json).unwrap()
}

fn rules(verbs: &[&str]) -> Value {
    json!([{ "apiGroups": ["replicacount.dev"], "resources": ["replicacounts"], "verbs": verbs }])
}

fn binding(name: &str, role: &str, subject: &str, is_in: &str) -> Value {
    json!({
        "metadata": { "name": name },
        "roleRef": { "apiGroup": "rbac.authorization.k8s.io", "kind": role, "name": name },
        "subjects": [{ "apiGroup": "rbac.authorization.k8s.io", "kind": subject, "name": is_in }],
    })
}

/// Gives a user or a group these verbs in a namespace.
async fn grant(fixture: &Fixture<'_>, namespace: &str, subject: &str, name: &str, verbs: &[&str]) {
    let admin = fixture.control_plane.admin().await.unwrap();
    let roles: Api<Role> = Api::namespaced(admin.clone(), namespace);
    let role = object(json!({ "metadata": { "name": name }, "rules": rules(verbs) }));
    roles.create(&PostParams::default(), &role).await.unwrap();
    let bindings: Api<RoleBinding> = Api::namespaced(admin, namespace);
    let binding = object(binding(name, "Role", subject, name));
    bindings.create(&PostParams::default(), &binding).await.unwrap();
}

fn list(namespace: &str) -> proto::ListDeploymentsRequest {
    proto::ListDeploymentsRequest { namespace: namespace.to_owned(), ..Default::default() }
}

fn get(namespace: &str, name: &str) -> proto::GetDeploymentRequest {
    let (name, namespace) = (name.to_owned(), namespace.to_owned());
    proto::GetDeploymentRequest { name, namespace, ..Default::default() }
}

fn set(namespace: &str, name: &str) -> proto::SetDeploymentRequest {
    let (name, namespace) = (name.to_owned(), namespace.to_owned());
    proto::SetDeploymentRequest {
        name,
        namespace,
        replicas: Some(3),
        allow_missing: true,
        ..Default::default()
    }
}

fn enforce(namespace: &str, name: &str) -> proto::SetEnforcementRequest {
    let (name, namespace) = (name.to_owned(), namespace.to_owned());
    let mode = proto::EnforcementMode::Enforce.into();
    proto::SetEnforcementRequest { name, namespace, mode, ..Default::default() }
}

fn delete(namespace: &str, name: &str) -> proto::DeleteDeploymentRequest {
    let (name, namespace) = (name.to_owned(), namespace.to_owned());
    proto::DeleteDeploymentRequest { name, namespace, ..Default::default() }
}

fn events(namespace: &str, name: &str) -> proto::ListEventsRequest {
    let (name, namespace) = (name.to_owned(), namespace.to_owned());
    proto::ListEventsRequest { name, namespace, ..Default::default() }
}

fn watch(namespace: &str) -> proto::WatchDeploymentsRequest {
    proto::WatchDeploymentsRequest { namespace: namespace.to_owned(), ..Default::default() }
}

/// The outcome of each request: on a managed target `web`, and of Set also on `new`, which is none.
async fn try_all(client: &Client, namespace: &str) -> [(&'static str, Result<(), Status>); 9] {
    let mut client = client.clone();
    let created = proto::SetDeploymentRequest { dry_run: true, ..set(namespace, "new") };
    [
        ("list", client.list_deployments(list(namespace)).await.map(drop)),
        ("get", client.get_deployment(get(namespace, "web")).await.map(drop)),
        ("list", client.list_events(events(namespace, "")).await.map(drop)),
        ("get", client.list_events(events(namespace, "web")).await.map(drop)),
        ("watch", client.watch_deployments(watch(namespace)).await.map(drop)),
        ("create", client.set_deployment(created).await.map(drop)),
        ("update", client.set_deployment(set(namespace, "web")).await.map(drop)),
        ("update", client.set_enforcement(enforce(namespace, "web")).await.map(drop)),
        ("delete", client.delete_deployment(delete(namespace, "web")).await.map(drop)),
    ]
}

#[track_caller]
fn check_denied(status: &Status, user: &str, verb: &str, place: &str) {
    assert_eq!(status.code(), Code::PermissionDenied, "{status}");
    assert_eq!(status.get_details_error_info().unwrap().reason, "NOT_AUTHORIZED");
    let expected = format!(
        "User {user:?} cannot {verb} resource \"replicacounts\" in API group \"replicacount.dev\" {place}"
    );
    assert!(status.message().contains(&expected), "{status}");
}

#[tokio::test]
async fn a_binding_in_one_namespace_counts_only_there_and_only_while_it_lasts() {
    let fixture = start(shared().await).await;
    let (a, b) = (fixture.namespace.clone(), fixture.control_plane.namespace("other").await.unwrap());
    let team = format!("team-{a}");
    let mut alice = client(&fixture.manager, "alice", &[&team]).await;
    let refused = alice.list_deployments(list(&a)).await.unwrap_err();
    check_denied(&refused, "alice", "list", &format!("in the namespace {a:?}"));

    grant(&fixture, &a, "Group", &team, &ALL).await;
    eventually("the binding is in effect", async || alice.list_deployments(list(&a)).await).await;
    alice.set_deployment(set(&a, "web")).await.unwrap();
    for (verb, outcome) in try_all(&alice, &a).await {
        outcome.unwrap_or_else(|status| panic!("{verb}: {status}"));
    }
    for (verb, outcome) in try_all(&alice, &b).await {
        // Nothing is stored there, so a Set of any name would create.
        let status = outcome.expect_err(verb);
        let verb = if status.message().contains("cannot create") { "create" } else { verb };
        check_denied(&status, "alice", verb, &format!("in the namespace {b:?}"));
    }
    let all = alice.list_deployments(list("")).await.unwrap_err();
    check_denied(&all, "alice", "list", "at the cluster scope");
    let all = alice.list_events(events("", "web")).await.unwrap_err();
    check_denied(&all, "alice", "list", "at the cluster scope");
    let all = alice.watch_deployments(watch("")).await.unwrap_err();
    check_denied(&all, "alice", "watch", "at the cluster scope");

    // The same user of Kubernetes has the same from the same binding.
    let as_alice = |namespace: &str| {
        let path = format!("/apis/replicacount.dev/v1alpha1/namespaces/{namespace}/replicacounts");
        let arguments = ["get", "--as", "alice", "--as-group", &team, "--raw", &path];
        String::from_utf8(fixture.kubectl(arguments).stderr).unwrap()
    };
    assert!(as_alice(&b).contains("is forbidden: User \"alice\" cannot list"), "{}", as_alice(&b));
    assert!(!as_alice(&a).contains("forbidden"), "{}", as_alice(&a));

    alice.set_deployment(set(&a, "web")).await.unwrap();
    let bindings: Api<RoleBinding> = Api::namespaced(fixture.control_plane.admin().await.unwrap(), &a);
    bindings.delete(&team, &DeleteParams::default()).await.unwrap();
    let removed = Instant::now();
    eventually("nothing is allowed any more", async || {
        let outcomes = try_all(&alice, &a).await;
        let allowed: Vec<_> = outcomes.iter().filter(|(_, outcome)| outcome.is_ok()).collect();
        if allowed.is_empty() { Ok(()) } else { Err(format!("{allowed:?}")) }
    })
    .await;
    assert!(removed.elapsed() <= KEPT + Duration::from_secs(1), "{:?}", removed.elapsed());
    assert!(as_alice(&a).contains("forbidden"), "{}", as_alice(&a));
}

#[tokio::test]
async fn each_request_needs_its_verb_and_no_other() {
    let fixture = start(shared().await).await;
    let a = fixture.namespace.clone();
    let everything = format!("all-{a}");
    let mut owner = client(&fixture.manager, &everything, &[]).await;
    grant(&fixture, &a, "User", &everything, &ALL).await;
    for verb in ALL {
        eventually("the setting is there", async || owner.set_deployment(set(&a, "web")).await).await;
        let user = format!("{verb}-{a}");
        let client = client(&fixture.manager, &user, &[]).await;
        grant(&fixture, &a, "User", &user, &[verb]).await;
        for (needed, outcome) in try_all(&client, &a).await {
            match outcome {
                Ok(()) => assert_eq!(verb, needed),
                Err(status) => {
                    assert_ne!(verb, needed, "{status}");
                    check_denied(&status, &user, needed, &format!("in the namespace {a:?}"));
                }
            }
        }
    }
}

#[tokio::test]
async fn who_may_only_create_does_not_change_what_another_has_just_created() {
    let fixture = start(shared().await).await;
    let a = fixture.namespace.clone();
    let user = format!("creator-{a}");
    let creator = client(&fixture.manager, &user, &[]).await;
    grant(&fixture, &a, "User", &user, &["create"]).await;
    for round in 0..5 {
        let sets = (0..8).map(|_| {
            let mut creator = creator.clone();
            let request = set(&a, &format!("web-{round}"));
            tokio::spawn(async move { creator.set_deployment(request).await.map(drop) })
        });
        let sets: Vec<_> = sets.collect();
        let mut created = 0;
        for set in sets {
            match set.await.unwrap() {
                Ok(()) => created += 1,
                Err(status) => check_denied(&status, &user, "update", &format!("in the namespace {a:?}")),
            }
        }
        assert_eq!(created, 1);
    }
}

#[tokio::test]
async fn all_namespaces_need_a_right_in_all_of_them() {
    let fixture = start(shared().await).await;
    let user = format!("viewer-{}", fixture.namespace);
    let mut viewer = client(&fixture.manager, &user, &[]).await;
    let admin = fixture.control_plane.admin().await.unwrap();
    let role: ClusterRole = object(json!({ "metadata": { "name": user }, "rules": rules(&["list"]) }));
    Api::all(admin.clone()).create(&PostParams::default(), &role).await.unwrap();
    let binding: ClusterRoleBinding = object(binding(&user, "ClusterRole", "User", &user));
    Api::all(admin).create(&PostParams::default(), &binding).await.unwrap();
    eventually("the binding is in effect", async || viewer.list_deployments(list("")).await).await;
    viewer.list_deployments(list(&fixture.namespace)).await.unwrap();
}

#[tokio::test]
async fn without_the_api_server_only_what_was_just_answered_is_allowed() {
    let control_plane = own().await;
    let fixture = start(&control_plane).await;
    let a = fixture.namespace.clone();
    let mut alice = client(&fixture.manager, "alice", &[]).await;
    grant(&fixture, &a, "User", "alice", &ALL).await;
    eventually("the binding is in effect", async || alice.set_deployment(set(&a, "web")).await).await;
    alice.get_deployment(get(&a, "web")).await.unwrap();
    let asked = Instant::now();
    control_plane.stop_api_server().unwrap();
    let check_unavailable = |status: Status| {
        assert_eq!(status.code(), Code::Unavailable, "{status}");
        assert_eq!(status.get_details_error_info().unwrap().reason, "AUTHORIZATION_UNAVAILABLE");
        assert!(status.get_details_retry_info().is_some());
    };
    check_unavailable(alice.list_deployments(list(&a)).await.unwrap_err());
    alice.get_deployment(get(&a, "web")).await.unwrap();
    assert!(asked.elapsed() < KEPT, "the machine is too slow for this test: {:?}", asked.elapsed());

    tokio::time::sleep_until(asked + KEPT).await;
    check_unavailable(alice.get_deployment(get(&a, "web")).await.unwrap_err());
    check_unavailable(alice.set_deployment(set(&a, "web")).await.unwrap_err());
    let logged = |text: &str| fixture.manager.log().iter().filter(|line| line.contains(text)).count();
    assert_eq!(logged("Kubernetes cannot be asked what users may do"), 1);

    control_plane.start_api_server().await.unwrap();
    eventually("it is allowed again", async || alice.get_deployment(get(&a, "web")).await).await;
    eventually("it is in the log", async || match logged("Kubernetes can be asked again") {
        1 => Ok(()),
        other => Err(other),
    })
    .await;
}

#[tokio::test]
async fn names_of_kubernetes_are_refused_in_certificates() {
    let fixture = start(shared().await).await;
    let root = client(&fixture.manager, "root", &["system:masters"]).await;
    for (request, outcome) in try_all(&root, &fixture.namespace).await {
        let status = outcome.expect_err(request);
        assert_eq!(status.code(), Code::PermissionDenied, "{status}");
        assert_eq!(status.get_details_error_info().unwrap().reason, "RESERVED_NAME");
        assert!(status.message().contains("\"system:masters\""), "{status}");
    }

    let fixture = Fixture::new().await;
    for user in ["root", "admin"] {
        let mut client = client(&fixture.manager, user, &["system:masters"]).await;
        client.list_deployments(list("")).await.unwrap();
    }
    let logged = || fixture.manager.log().into_iter().filter(|line| line.contains("belongs to Kubernetes"));
    assert_eq!(logged().count(), 1, "{:?}", logged().collect::<Vec<_>>());
}

#[tokio::test]
async fn answers_are_counted_and_kept() {
    let fixture = start(shared().await).await;
    let mut client = fixture.client.clone();
    for _ in 0..3 {
        client.list_deployments(list(&fixture.namespace)).await.unwrap_err();
    }
    wait_for_metric(&fixture.manager, "authorization_answers_total{result=\"denied\"} 3").await;
    wait_for_metric(&fixture.manager, "authorization_cache_hits_total 2").await;
    wait_for_metric(&fixture.manager, "authorization_cached_answers 1").await;
    wait_for_metric(&fixture.manager, "authorization_review_seconds_count 1").await;
}

#[tokio::test]
async fn health_needs_no_right() {
    let fixture = start(shared().await).await;
    let credentials = fixture.manager.certificates().files("client").load().unwrap();
    let address = fixture.manager.grpc_address().into();
    let endpoint = replica_count_client::Endpoint::new(&address, &credentials, Some("localhost")).unwrap();
    let connection = endpoint.connect().await.unwrap();
    eventually("it is healthy", async || connection.health().await).await;
}

#[tokio::test]
async fn a_server_that_may_not_ask_allows_nothing() {
    let control_plane = shared().await;
    let namespace = control_plane.namespace("limited").await.unwrap();
    let scope = Scope::Namespace(namespace.clone());
    let arguments = ["--namespace", &namespace, "--authorization-mode", "rbac"];
    let options = options(control_plane, &scope, &arguments).await;
    let mut fixture = Fixture::start(control_plane, namespace.clone(), options).await;
    let refused = fixture.client.list_deployments(list(&namespace)).await.unwrap_err();
    assert_eq!(refused.code(), Code::Unavailable, "{refused}");
    assert_eq!(refused.get_details_error_info().unwrap().reason, "AUTHORIZATION_UNAVAILABLE");
    let lacks = |line: &String| line.contains("lacks the right to create subjectaccessreviews");
    assert!(fixture.manager.log().iter().any(lacks), "{:?}", fixture.manager.log());
}
