//! Tests of the control plane itself, on which the tests of the server rely.

#![expect(clippy::unwrap_used, reason = "a test fails by panicking, in its helpers too")]

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;
use std::{env, fs, iter};

use k8s_openapi::api::apps::v1::Deployment;
use kube::Client;
use kube::api::{Api, DeleteParams, ListParams, Patch, PatchParams};
use kube::config::{KubeConfigOptions, Kubeconfig};
use replica_count_testbed::control_plane::Scope;
use replica_count_testbed::{ControlPlane, Options};
use serde_json::json;
use tokio::time::{self, Instant};

const DEADLINE: Duration = Duration::from_secs(30);

/// Tests with separate runtimes share a control plane in a static.
const fn assert_shareable<T: Send + Sync + 'static>() {}
const _: () = assert_shareable::<ControlPlane>();

fn options() -> Options {
    Options::new(PathBuf::from(env!("CARGO_BIN_EXE_testbed")))
}

async fn client(kubeconfig: &Path) -> Client {
    let kubeconfig = Kubeconfig::read_from(kubeconfig).unwrap();
    let config =
        kube::Config::from_custom_kubeconfig(kubeconfig, &KubeConfigOptions::default()).await.unwrap();
    Client::try_from(config).unwrap()
}

/// Polls a condition.
async fn eventually(what: &str, mut condition: impl FnMut() -> bool) {
    let deadline = Instant::now() + DEADLINE;
    while !condition() {
        assert!(Instant::now() < deadline, "not within {DEADLINE:?}: {what}");
        time::sleep(Duration::from_millis(20)).await;
    }
}

/// Whether a process runs. A zombie does not count.
fn is_running(pid: u32) -> bool {
    let stat = fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
    stat.rsplit(") ")
        .next()
        .and_then(|fields| fields.chars().next())
        .is_some_and(|state| !"ZX".contains(state))
}

/// The children of a process, including those that have not called exec yet.
fn children(pid: u32) -> Vec<u32> {
    let tasks = fs::read_dir(format!("/proc/{pid}/task")).unwrap();
    let lists =
        tasks.map(|task| fs::read_to_string(task.unwrap().path().join("children")).unwrap_or_default());
    lists
        .flat_map(|list| list.split_whitespace().map(|pid| pid.parse().unwrap()).collect::<Vec<_>>())
        .collect()
}

#[tokio::test]
async fn the_api_server_comes_back_on_its_port_with_its_data() {
    let mut control_plane = ControlPlane::start(options()).await.unwrap();
    let url = control_plane.url().to_owned();
    let namespace = control_plane.namespace("restart").await.unwrap();
    control_plane.deployment(&namespace, "web", 3).await.unwrap();
    let folder = control_plane.folder("mine").unwrap();
    let before = control_plane.process_ids();
    assert_eq!(before.len(), 2);

    control_plane.stop_api_server().unwrap();
    let api = || async { Api::<Deployment>::namespaced(control_plane.admin().await.unwrap(), &namespace) };
    api().await.get("web").await.unwrap_err();
    control_plane.start_api_server().await.unwrap();
    let found = api().await.get("web").await.unwrap();
    assert_eq!(found.spec.unwrap().replicas, Some(3));
    assert_eq!(control_plane.url(), url);

    control_plane.pause_api_server().unwrap();
    let paused = api().await;
    time::timeout(Duration::from_millis(500), paused.get("web")).await.unwrap_err();
    control_plane.resume_api_server().unwrap();
    time::timeout(DEADLINE, api().await.get("web")).await.unwrap().unwrap();

    let second = control_plane.start_second_api_server().await.unwrap();
    let second = client(&second).await;
    control_plane.stop_api_server().unwrap();
    Api::<Deployment>::namespaced(second, &namespace).get("web").await.unwrap();
    control_plane.start_api_server().await.unwrap();

    let after = control_plane.process_ids();
    assert_eq!(after.len(), 3);
    control_plane.shutdown().unwrap();
    for pid in iter::chain(before, after) {
        assert!(!is_running(pid), "{pid} is still running");
    }
    assert!(!folder.exists());
}

#[tokio::test]
async fn the_rights_of_the_manager_are_exact() {
    let audit_log = env::temp_dir().join(format!("testbed-audit-{}.log", std::process::id()));
    let control_plane = ControlPlane::start(options().with_audit_log(audit_log.clone())).await.unwrap();
    let namespace = control_plane.namespace("mine").await.unwrap();
    let foreign = control_plane.namespace("foreign").await.unwrap();
    for namespace in [&namespace, &foreign] {
        control_plane.deployment(namespace, "web", 1).await.unwrap();
    }
    let to_two = Patch::Json::<()>(
        serde_json::from_value(json!([
            { "op": "test", "path": "/spec/replicas", "value": 1 },
            { "op": "add", "path": "/spec/replicas", "value": 2 },
        ]))
        .unwrap(),
    );
    let params = PatchParams::default();

    let everywhere = client(&control_plane.manager_kubeconfig(&Scope::Cluster).await.unwrap()).await;
    let all: Api<Deployment> = Api::all(everywhere.clone());
    assert_eq!(all.list(&ListParams::default()).await.unwrap().items.len(), 2);
    let api: Api<Deployment> = Api::namespaced(everywhere, &namespace);
    assert_eq!(api.patch_scale("web", &params, &to_two).await.unwrap().spec.unwrap().replicas, Some(2));
    assert_forbidden(api.patch("web", &params, &to_two).await);
    assert_forbidden(api.get_scale("web").await);
    assert_forbidden(api.delete("web", &DeleteParams::default()).await);

    let scope = Scope::Namespace(namespace.clone());
    let limited = client(&control_plane.manager_kubeconfig(&scope).await.unwrap()).await;
    let api: Api<Deployment> = Api::namespaced(limited.clone(), &namespace);
    assert_eq!(api.list(&ListParams::default()).await.unwrap().items.len(), 1);
    assert_forbidden(api.patch("web", &params, &to_two).await);
    assert_forbidden(Api::<Deployment>::all(limited.clone()).list(&ListParams::default()).await);
    assert_forbidden(
        Api::<Deployment>::namespaced(limited, &foreign).patch_scale("web", &params, &to_two).await,
    );

    let requests = || fs::read_to_string(&audit_log).unwrap_or_default();
    let user = "system:serviceaccount:replica-count-manager:replica-count-manager";
    let is_patch = |line: &str| line.contains(user) && line.contains("/deployments/web/scale");
    eventually("the patch is in the audit log", || requests().lines().any(is_patch)).await;
    drop(control_plane);
    fs::remove_file(audit_log).unwrap();
}

fn assert_forbidden<T: std::fmt::Debug>(result: Result<T, kube::Error>) {
    match result {
        Err(kube::Error::Api(status)) if status.code == 403 => {}
        other => panic!("expected 403, got {other:?}"),
    }
}

#[tokio::test]
async fn nothing_outlives_a_killed_parent() {
    let mut testbed =
        Command::new(env!("CARGO_BIN_EXE_testbed")).arg("up").stdout(Stdio::piped()).spawn().unwrap();
    let mut line = String::new();
    BufReader::new(testbed.stdout.take().unwrap()).read_line(&mut line).unwrap();
    assert!(line.starts_with("export KUBECONFIG="), "{line}");
    let children = children(testbed.id());
    assert_eq!(children.len(), 3, "etcd, kube-apiserver and kube-controller-manager");
    assert!(children.iter().all(|pid| is_running(*pid)));

    testbed.kill().unwrap();
    testbed.wait().unwrap();

    eventually("the children are gone", || !children.iter().any(|pid| is_running(*pid))).await;
    // The next control plane removes its folder.
    let kubeconfig = line.trim_end().trim_start_matches("export KUBECONFIG=");
    drop(ControlPlane::start(options()).await.unwrap());
    assert!(!Path::new(kubeconfig).exists());
}

#[tokio::test]
async fn a_program_that_dies_early_shows_its_log() {
    let assets = env::temp_dir().join(format!("testbed-assets-{}", std::process::id()));
    fs::create_dir_all(&assets).unwrap();
    // `ls` stands in for an etcd that rejects its flags with an error.
    for name in ["etcd", "kube-apiserver", "kube-controller-manager"] {
        std::os::unix::fs::symlink("/bin/ls", assets.join(name)).unwrap();
    }
    let output = Command::new(env!("CARGO_BIN_EXE_testbed"))
        .arg("up")
        .env("KUBEBUILDER_ASSETS", &assets)
        .output()
        .unwrap();
    fs::remove_dir_all(&assets).unwrap();
    let error = String::from_utf8_lossy(&output.stderr);
    assert!(!output.status.success());
    assert!(error.contains("etcd died (exit code 2)") && error.contains("unrecognized option"), "{error}");
}
