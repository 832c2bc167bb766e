//! The guard: the API server itself keeps the counts, and the server keeps the guard.

use std::time::Duration;

use kube::api::{Api, ApiResource, DeleteParams, DynamicObject, GroupVersionKind, Patch, PatchParams};
use replica_count_api::proto::{DeploymentState, GuardState};
use replica_count_testbed::control_plane::Scope;
use replica_count_testbed::webhook::Verdict;
use replica_count_testbed::{Manager, Webhook};
use serde_json::{Value, json};
use tokio::time;

use crate::crd::with_crd;
use crate::fixture::{Fixture, SOMEBODY, eventually, options, own, shared, wait_for_metric};

/// A server with a guard of its own, under its own name, and whether the API server can correct counts.
pub(crate) async fn guarded(mode: &str) -> (Fixture<'static>, bool) {
    guarded_with(mode, &[]).await
}

/// The same with extra flags.
async fn guarded_with(mode: &str, extra: &[&str]) -> (Fixture<'static>, bool) {
    let control_plane = shared().await;
    let name = control_plane.namespace("guard").await.unwrap();
    let corrects = control_plane.install_guard(&name).await.unwrap();
    let arguments = [&["--guard", mode, "--guard-name", &name, "--guard-how", "ask"], extra].concat();
    (Fixture::with(control_plane, &arguments).await, corrects)
}

impl Fixture<'_> {
    async fn guards(&self) -> Api<DynamicObject> {
        let kind = GroupVersionKind::gvk("replicacount.dev", "v1alpha1", "ReplicaGuard");
        let resource = ApiResource::from_gvk(&kind);
        Api::namespaced_with(self.control_plane.admin().await.unwrap(), &self.namespace, &resource)
    }

    /// The one guard of the namespace.
    async fn guard(&self) -> Option<DynamicObject> {
        self.guards().await.list(&kube::api::ListParams::default()).await.unwrap().items.pop()
    }

    async fn patch_guard(&self, patch: Value) {
        let name = self.guard().await.unwrap().metadata.name.unwrap();
        let parameters = PatchParams { field_manager: Some(SOMEBODY.to_owned()), ..PatchParams::default() };
        self.guards().await.patch(&name, &parameters, &Patch::Merge(patch)).await.unwrap();
    }

    async fn kept(&self, name: &str) -> Option<i64> {
        let guard = self.guard().await?;
        guard.data["spec"]["counts"][format!("deployments/{name}")]["replicas"].as_i64()
    }

    async fn wait_for_kept(&self, name: &str, expected: Option<i64>) {
        eventually("the guard keeps it", async || {
            let kept = self.kept(name).await;
            if kept == expected { Ok(()) } else { Err(kept) }
        })
        .await;
    }

    async fn wait_for_log(&self, words: &str) {
        eventually("the log says it", async || {
            let log = self.manager.log();
            if log.iter().any(|line| line.contains(words)) { Ok(()) } else { Err(log) }
        })
        .await;
    }

    async fn wait_for_guard(&self, name: &str, state: GuardState) {
        self.wait_for(name, |answer| answer.guard() == state).await;
    }

    /// Waits until it is proven that the guard of the namespace is in force.
    async fn wait_until_in_force(&self, name: &str, state: GuardState) {
        self.wait_for_guard(name, state).await;
        wait_for_metric(&self.manager, "guard_active_namespaces 1.0").await;
    }
}

#[tokio::test]
async fn a_wrong_count_is_never_stored() {
    let (mut fixture, corrects) = guarded("correct").await;
    fixture.create_managed("web", 3).await;
    if !corrects {
        fixture.wait_for_log("does not have MutatingAdmissionPolicy").await;
        fixture.wait_until_in_force("web", GuardState::GuardWarns).await;
        return;
    }
    fixture.wait_until_in_force("web", GuardState::GuardCorrects).await;
    for (kept, others) in [(3, [0, 7]), (5, [3, 0]), (0, [5, 1]), (4, [0, 9])] {
        fixture.set("web", kept).await;
        fixture.wait_for_count("web", kept).await;
        for count in others {
            fixture.scale("web", count).await;
            assert_eq!(fixture.count("web").await, Some(kept), "after a scale to {count}");
        }
    }
    let answer = fixture.get("web").await.unwrap();
    assert_eq!((answer.drift_count, answer.guarded), (0, true), "{answer:?}");

    // The guard holds without the server.
    let Fixture { manager, deployments, .. } = fixture;
    manager.kill().unwrap();
    let patch = Patch::Merge(json!({ "spec": { "replicas": 1 } }));
    let patched = deployments.patch("web", &PatchParams::default(), &patch).await.unwrap();
    assert_eq!(patched.spec.unwrap().replicas, Some(4));
}

#[tokio::test]
async fn whoever_applied_a_count_keeps_it() {
    let (mut fixture, corrects) = guarded("correct").await;
    if !corrects {
        return;
    }
    let manifest = |count: i32| {
        json!({
            "apiVersion": "apps/v1",
            "kind": "Deployment",
            "metadata": { "name": "web" },
            "spec": {
                "replicas": count,
                "selector": { "matchLabels": { "app": "web" } },
                "template": {
                    "metadata": { "labels": { "app": "web" } },
                    "spec": { "containers": [{ "name": "web", "image": "web" }] },
                },
            },
        })
    };
    let helm = PatchParams::apply("helm");
    fixture.deployments.patch("web", &helm, &Patch::Apply(manifest(3))).await.unwrap();
    fixture.set("web", 3).await;
    fixture.wait_until_in_force("web", GuardState::GuardCorrects).await;
    for count in [5, 0, 2] {
        fixture.set("web", count).await;
        fixture.wait_for_count("web", count).await;
        let applied = fixture.deployments.patch("web", &helm, &Patch::Apply(manifest(9))).await;
        applied.expect("without a conflict, because nobody else owns the count");
        assert_eq!(fixture.count("web").await, Some(count));
    }
}

#[tokio::test]
async fn a_wrong_count_is_refused_and_the_desired_one_is_not() {
    let (mut fixture, _) = guarded("deny").await;
    fixture.create_managed("web", 3).await;
    fixture.wait_until_in_force("web", GuardState::GuardDenies).await;
    for (kept, other) in [(3, 0), (5, 3), (0, 5)] {
        fixture.set("web", kept).await;
        fixture.wait_for_count("web", kept).await;
        fixture.wait_for_kept("web", Some(kept.into())).await;
        let refused = fixture.kubectl(["scale", "deployment/web", &format!("--replicas={other}")]);
        let words = String::from_utf8(refused.stderr).unwrap();
        assert!(!refused.status.success() && words.contains(&format!("is kept at {kept}")), "{words}");
        assert!(words.contains("to change it: ask"), "{words}");
        assert_eq!(fixture.count("web").await, Some(kept));
    }
    assert_eq!(fixture.get("web").await.unwrap().drift_count, 0);

    // The README names this metric of the API server.
    let request = http::Request::get("/metrics").body(Vec::new()).unwrap();
    let metrics = fixture.control_plane.admin().await.unwrap().request_text(request).await.unwrap();
    let name = fixture.guard().await.unwrap().metadata.name.unwrap();
    let is_it = |line: &str| {
        line.starts_with("apiserver_validating_admission_policy_check_total{enforcement_action=\"deny\"")
            && line.contains(&format!("policy=\"{name}-deny\""))
    };
    assert!(metrics.lines().any(is_it));
}

#[tokio::test]
async fn a_warning_comes_before_the_repair() {
    let (mut fixture, _) = guarded("warn").await;
    fixture.create_managed("web", 3).await;
    fixture.wait_until_in_force("web", GuardState::GuardWarns).await;
    let scaled = fixture.kubectl(["scale", "deployment/web", "--replicas=7"]);
    let words = String::from_utf8(scaled.stderr).unwrap();
    assert!(scaled.status.success() && words.contains("is kept at 3"), "{words}");
    fixture.wait_for("web", |answer| answer.drift_count == 1 && answer.current_replicas == Some(3)).await;
}

#[tokio::test]
async fn what_people_change_in_a_guard_is_put_back() {
    let (mut fixture, _) = guarded("deny").await;
    fixture.create_managed("web", 3).await;
    fixture.wait_until_in_force("web", GuardState::GuardDenies).await;

    let counts = json!({ "deployments/web": { "replicas": 9 }, "deployments/api": { "replicas": 1 } });
    fixture.patch_guard(json!({ "spec": { "mode": "warn", "counts": counts } })).await;
    fixture.wait_for_kept("web", Some(3)).await;
    fixture.wait_for_kept("api", None).await;
    fixture.wait_for_log("the guard was changed: it is put back").await;
    let log = fixture.manager.log();
    assert!(log.iter().any(|line| line.contains(r#""by":"somebody""#)), "the author is named: {log:#?}");

    let name = fixture.guard().await.unwrap().metadata.name.unwrap();
    fixture.guards().await.delete(&name, &DeleteParams::default()).await.unwrap();
    fixture.wait_for_kept("web", Some(3)).await;
    wait_for_metric(&fixture.manager, "guard_drifts_total 2").await;
    fixture.wait_for_log("the guard was deleted: it has been put back").await;

    // A guard of a namespace without settings is nobody's.
    let other = fixture.control_plane.namespace("guard").await.unwrap();
    let mut guards = fixture.guards().await;
    let mut guard = guards.get(&name).await.unwrap();
    guard.metadata = kube::api::ObjectMeta { name: Some(name.clone()), ..Default::default() };
    let kind = GroupVersionKind::gvk("replicacount.dev", "v1alpha1", "ReplicaGuard");
    let client = fixture.control_plane.admin().await.unwrap();
    guards = Api::namespaced_with(client, &other, &ApiResource::from_gvk(&kind));
    guards.create(&kube::api::PostParams::default(), &guard).await.unwrap();
    eventually("it is gone", async || {
        guards.get_opt(&name).await.unwrap().is_none().then_some(()).ok_or("it is there")
    })
    .await;
}

#[tokio::test]
async fn a_fight_over_a_guard_is_damped_and_a_new_setting_is_not() {
    let (mut fixture, _) = guarded("warn").await;
    fixture.create_managed("web", 3).await;
    fixture.wait_for_kept("web", Some(3)).await;
    let change = json!({ "spec": { "counts": { "deployments/web": { "replicas": 9 } } } });
    let is_contested = async || {
        let metrics = fixture.manager.metrics().await.unwrap();
        metrics.lines().any(|line| line == "replica_count_manager_guard_contested_namespaces 1.0")
    };
    let mut changes = 0;
    while !is_contested().await {
        fixture.patch_guard(change.clone()).await;
        fixture.wait_for_kept("web", Some(3)).await;
        changes += 1;
    }
    assert_eq!(changes, 12);
    fixture.patch_guard(change).await;
    time::sleep(Duration::from_secs(1)).await;
    assert_eq!(fixture.kept("web").await, Some(9), "it is left for now");
    let log = fixture.manager.log();
    let told: Vec<_> = log.iter().filter(|line| line.contains("the guard is contested")).collect();
    assert!(told.len() == 1 && told[0].contains(r#""by":"somebody""#), "{log:#?}");

    fixture.set("web", 4).await;
    fixture.wait_for_kept("web", Some(4)).await;
    fixture.wait_for_count("web", 4).await;
}

#[tokio::test]
async fn two_servers_with_the_same_guard_do_not_fight_for_ever() {
    let (mut fixture, _) = guarded("warn").await;
    fixture.create_managed("web", 3).await;
    fixture.wait_for_kept("web", Some(3)).await;
    let name = fixture.guard().await.unwrap().metadata.name.unwrap();
    let arguments = ["--guard", "warn", "--guard-name", &name];
    let other = options(fixture.control_plane, &Scope::Cluster, &arguments).await;
    let mut other = Manager::start(&other).await.unwrap();
    other.wait_ready().await.unwrap();
    other.client().await.unwrap().set_deployment(fixture.set_request("web", 4)).await.unwrap();

    // Until its own setting is there, the other one deletes the guard, and Kubernetes does not say who did.
    let is_told =
        |manager: &Manager| manager.log().iter().any(|line| line.contains("the guard is contested"));
    eventually("one of them reports it", async || {
        let is_told = is_told(&fixture.manager) || is_told(&other);
        if is_told { Ok(()) } else { Err((fixture.manager.log(), other.log())) }
    })
    .await;
    let version = async || fixture.guard().await.and_then(|guard| guard.metadata.resource_version);
    time::sleep(Duration::from_millis(500)).await;
    let before = version().await;
    time::sleep(Duration::from_secs(2)).await;
    assert_eq!(version().await, before, "the fight rests");
}

#[tokio::test]
async fn a_guard_that_goes_with_its_namespace_is_no_drift() {
    let (mut fixture, _) = guarded_with("warn", &["--log-level", "debug"]).await;
    fixture.create_managed("web", 3).await;
    fixture.wait_for_kept("web", Some(3)).await;
    let namespaces: Api<k8s_openapi::api::core::v1::Namespace> =
        Api::all(fixture.control_plane.admin().await.unwrap());
    namespaces.delete(&fixture.namespace, &DeleteParams::default()).await.unwrap();
    let name = fixture.guard().await.unwrap().metadata.name.unwrap();
    fixture.guards().await.delete(&name, &DeleteParams::default()).await.unwrap();
    fixture.wait_for_log("no guard").await;
    wait_for_metric(&fixture.manager, "guard_drifts_total 0").await;
    wait_for_metric(&fixture.manager, "guard_oldest_change_seconds 0.0").await;
    let log = fixture.manager.log();
    assert!(!log.iter().any(|line| line.contains("put back")), "{log:#?}");
}

#[tokio::test]
async fn what_a_policy_lacks_is_told_and_noticed_when_it_comes() {
    let control_plane = own().await;
    let name = control_plane.namespace("guard").await.unwrap();
    control_plane.install_guard(&name).await.unwrap();
    let client = control_plane.admin().await.unwrap();
    let api = |kind: &str| {
        let kind = GroupVersionKind::gvk("admissionregistration.k8s.io", "v1", kind);
        Api::<DynamicObject>::all_with(client.clone(), &ApiResource::from_gvk(&kind))
    };
    let (policies, bindings) = (api("ValidatingAdmissionPolicy"), api("ValidatingAdmissionPolicyBinding"));
    let policy = format!("{name}-warn");
    let mut binding = bindings.get(&policy).await.unwrap();
    bindings.delete(&policy, &DeleteParams::default()).await.unwrap();

    let arguments = ["--guard", "warn", "--guard-name", &name];
    let mut fixture = Fixture::with(&control_plane, &arguments).await;
    fixture.create_managed("web", 3).await;
    wait_for_metric(&fixture.manager, "guard_mode{mode=\"warn\"} 1").await;
    let shows = async |reason: &str, words: &str| {
        wait_for_metric(&fixture.manager, &format!("guard_problem{{reason=\"{reason}\"}} 1")).await;
        let ready = fixture.manager.readyz().await.unwrap();
        assert!(ready.contains(words), "{ready}");
        fixture.wait_for_log(words).await;
    };
    shows("no_binding", "has no binding of this name").await;

    // The words are those of kube-controller-manager, which is not there.
    let warnings =
        json!([{ "fieldRef": "spec.validations[0].expression", "warning": "undefined field 'x'" }]);
    let status = json!({ "status": { "typeChecking": { "expressionWarnings": warnings } } });
    let parameters = PatchParams::default();
    policies.patch_status(&policy, &parameters, &Patch::Merge(status)).await.unwrap();
    shows("does_not_compile", "spec.validations[0].expression: undefined field 'x'").await;

    binding.metadata = kube::api::ObjectMeta { name: Some(policy.clone()), ..Default::default() };
    bindings.create(&kube::api::PostParams::default(), &binding).await.unwrap();
    wait_for_metric(&fixture.manager, "guard_active_namespaces 1.0").await;
    wait_for_metric(&fixture.manager, "guard_problem{reason=\"does_not_compile\"} 0").await;
    fixture.wait_for_guard("web", GuardState::GuardWarns).await;
}

#[tokio::test]
async fn a_slow_proof_delays_no_guard() {
    let (mut fixture, _) = guarded("warn").await;
    fixture.create("web", 3).await;
    let webhook = Webhook::start(fixture.control_plane).await.unwrap();
    webhook.register(fixture.control_plane, &fixture.namespace, "request.dryRun == true").await.unwrap();
    webhook.answer(Verdict::Deny(403));
    fixture.wait_until_refused("web").await;
    webhook.answer(Verdict::AllowAfter(Duration::from_secs(4)));
    fixture.set("web", 3).await;
    fixture.wait_for_kept("web", Some(3)).await;
    time::sleep(Duration::from_millis(100)).await;
    let started = time::Instant::now();
    fixture.set("web", 4).await;
    fixture.wait_for_kept("web", Some(4)).await;
    fixture.wait_for_count("web", 4).await;
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    Webhook::unregister(fixture.control_plane, &fixture.namespace).await.unwrap();
}

#[tokio::test]
async fn a_server_without_the_guard_removes_what_an_earlier_run_left() {
    let (mut fixture, _) = guarded("deny").await;
    fixture.create_managed("web", 3).await;
    fixture.wait_for_kept("web", Some(3)).await;
    let name = fixture.guard().await.unwrap().metadata.name.unwrap();
    let other = json!({
        "apiVersion": "replicacount.dev/v1alpha1",
        "kind": "ReplicaGuard",
        "metadata": { "name": "other" },
        "spec": { "mode": "warn" },
    });
    let other: DynamicObject = serde_json::from_value(other).unwrap();
    fixture.guards().await.create(&kube::api::PostParams::default(), &other).await.unwrap();

    let arguments = ["--guard-name", &*name];
    fixture.options = options(fixture.control_plane, &Scope::Cluster, &arguments).await;
    let fixture = fixture.restart(async |_| {}).await;
    eventually("only what another release keeps is left", async || {
        let guards = fixture.guards().await.list(&kube::api::ListParams::default()).await.unwrap();
        let names: Vec<_> = guards.items.into_iter().filter_map(|guard| guard.metadata.name).collect();
        if names == ["other"] { Ok(()) } else { Err((names, name.clone())) }
    })
    .await;
    fixture.wait_for_log("guards of an earlier run were removed").await;
}

#[tokio::test]
async fn a_server_without_the_guard_needs_neither_rights_nor_definitions() {
    let control_plane = own().await;
    let mut fixture = Fixture::with(&control_plane, &["--log-level", "debug"]).await;
    fixture.wait_for_log("no guards are installed").await;
    fixture.create_managed("web", 3).await;
    fixture.scale("web", 7).await;
    fixture.wait_for("web", |answer| answer.drift_count == 1 && answer.current_replicas == Some(3)).await;
}

#[tokio::test]
async fn a_server_that_enforces_nothing_lifts_the_guard() {
    let (mut fixture, _) = guarded("deny").await;
    fixture.create_managed("web", 3).await;
    fixture.wait_for_kept("web", Some(3)).await;
    fixture.options = fixture.options.argument("--enforcement").argument("ignore");
    let fixture = fixture.restart(async |_| {}).await;
    eventually("the guard is gone", async || {
        let guard = fixture.guard().await;
        if guard.is_none() { Ok(()) } else { Err(guard) }
    })
    .await;
    fixture.wait_for_log("nothing is guarded").await;
    eventually("somebody may scale", async || {
        let scaled = fixture.kubectl(["scale", "deployment/web", "--replicas=7"]);
        scaled.status.success().then_some(()).ok_or(scaled)
    })
    .await;
    assert_eq!(fixture.count("web").await, Some(7));
}

#[tokio::test]
async fn a_suspended_guard_is_left_alone_and_so_are_the_counts() {
    let (mut fixture, _) = guarded("deny").await;
    fixture.create_managed("web", 3).await;
    fixture.wait_until_in_force("web", GuardState::GuardDenies).await;
    fixture.patch_guard(json!({ "spec": { "suspended": true } })).await;
    fixture.wait_for_guard("web", GuardState::GuardSuspended).await;
    eventually("somebody may scale", async || {
        let scaled = fixture.kubectl(["scale", "deployment/web", "--replicas=7"]);
        scaled.status.success().then_some(()).ok_or(scaled)
    })
    .await;
    fixture
        .wait_for("web", |answer| answer.state() == DeploymentState::Ignored && answer.drift_count == 1)
        .await;
    fixture.set("web", 4).await;
    fixture.wait_for_kept("web", Some(4)).await;
    time::sleep(Duration::from_millis(300)).await;
    assert_eq!(fixture.count("web").await, Some(7), "nothing is repaired");
    assert_eq!(fixture.guard().await.unwrap().data["spec"]["suspended"], true);

    fixture.patch_guard(json!({ "spec": { "suspended": false } })).await;
    fixture.wait_for_count("web", 4).await;
    fixture.wait_for_guard("web", GuardState::GuardDenies).await;
}

#[tokio::test]
async fn only_what_would_be_repaired_is_guarded() {
    let (mut fixture, _) = guarded("deny").await;
    fixture.create_managed("web", 3).await;
    fixture.create_managed("api", 2).await;
    fixture.wait_for_kept("web", Some(3)).await;

    fixture.autoscale("autoscaler", "web", 1).await;
    fixture.wait_for_kept("web", None).await;
    fixture.wait_for_guard("web", GuardState::Unguarded).await;
    fixture.autoscalers().await.delete("autoscaler", &DeleteParams::default()).await.unwrap();
    fixture.wait_for_kept("web", Some(3)).await;

    let until = jiff::Timestamp::now() + Duration::from_secs(3);
    fixture.ignore("web", Some(until)).await;
    fixture.wait_for_kept("web", None).await;
    fixture.wait_for_kept("web", Some(3)).await;
    assert!(jiff::Timestamp::now() >= until);

    fixture.delete_setting("api").await;
    fixture.wait_for_kept("api", None).await;
    fixture.delete_setting("web").await;
    eventually("a guard of nothing is gone", async || {
        let guard = fixture.guard().await;
        if guard.is_none() { Ok(()) } else { Err(guard) }
    })
    .await;
    fixture.scale("web", 9).await;
    assert_eq!(fixture.count("web").await, Some(9));
}

#[tokio::test]
async fn without_policies_the_server_watches_and_repairs() {
    let control_plane = own().await;
    let mut fixture = Fixture::with(&control_plane, &["--guard", "correct"]).await;
    fixture.create_managed("web", 3).await;
    fixture.wait_for_log("no guard").await;
    fixture.scale("web", 7).await;
    let answer = fixture.wait_for("web", |answer| answer.drift_count == 1).await;
    assert_eq!((answer.guard(), answer.guarded), (GuardState::Unguarded, false));
    fixture.wait_for_count("web", 3).await;
}

#[tokio::test]
async fn of_several_servers_the_holder_keeps_it() {
    let control_plane = shared().await;
    let name = control_plane.namespace("guard").await.unwrap();
    control_plane.install_guard(&name).await.unwrap();
    let mut fixture = with_crd(&["--guard", "deny", "--guard-name", &name]).await;
    fixture.create_managed("web", 3).await;
    fixture.wait_until_in_force("web", GuardState::GuardDenies).await;
    let mut follower = Manager::start(&fixture.options).await.unwrap();
    follower.wait_ready().await.unwrap();
    wait_for_metric(&follower, "guard_active_namespaces 1.0").await;
    for count in [4, 5] {
        fixture.set("web", count).await;
        fixture.wait_for_count("web", count).await;
    }
    fixture.wait_for_kept("web", Some(5)).await;
    let version = fixture.guard().await.unwrap().metadata.resource_version;

    // The follower takes over: it leaves the guard as it is, and keeps it from then on.
    std::mem::replace(&mut fixture.manager, follower).terminate().await.unwrap();
    fixture.client = fixture.manager.client().await.unwrap();
    wait_for_metric(&fixture.manager, "leader 1").await;
    fixture.wait_for_guard("web", GuardState::GuardDenies).await;
    assert_eq!(fixture.guard().await.unwrap().metadata.resource_version, version);
    fixture.set("web", 6).await;
    fixture.wait_for_count("web", 6).await;
    fixture.wait_for_kept("web", Some(6)).await;
    wait_for_metric(&fixture.manager, "guard_drifts_total 0").await;
    fixture.patch_guard(json!({ "spec": { "counts": null } })).await;
    fixture.wait_for_kept("web", Some(6)).await;
    wait_for_metric(&fixture.manager, "guard_drifts_total 1").await;
}
