//! From the file to ReplicaCounts, and back.

use std::fs;
use std::path::Path;
use std::process::Command;

use replica_count_testbed::Manager;
use replica_count_testbed::control_plane::Scope;
use serde_json::{Value, json};

use super::in_namespace;
use crate::fixture::{Fixture, options, shared};

/// Runs a command of the server; returns its status and what it printed.
fn run(fixture: &Fixture<'_>, command: &str, file: &Path, flags: &[&str]) -> (Option<i32>, String) {
    let program =
        std::path::PathBuf::from(env!("CARGO_BIN_EXE_testbed")).with_file_name("replica-count-manager");
    let output = Command::new(program)
        .arg(command)
        .arg("--kubeconfig")
        .arg(fixture.control_plane.admin_kubeconfig())
        .args(["--namespace", &fixture.namespace, "--file-path"])
        .arg(file)
        .args(flags)
        .output()
        .unwrap();
    let text = [output.stdout, output.stderr].concat();
    (output.status.code(), String::from_utf8(text).unwrap())
}

#[tokio::test]
async fn a_running_installation_moves_there_and_back() {
    let control_plane = shared().await;
    control_plane.install_replica_counts().await.unwrap();
    let namespace = control_plane.namespace("move").await.unwrap();
    let of_file = options(control_plane, &Scope::Cluster, &[]).await;
    let file = of_file.store();
    let mut fixture = Fixture::start(control_plane, namespace.clone(), of_file.clone()).await;
    fixture.create_managed("web", 3).await;
    fixture.create_managed("api", 2).await;
    fixture.set("api", 4).await;
    fixture.hold("api", 6, std::time::Duration::from_hours(1)).await;
    fixture.ignore("api", Some(jiff::Timestamp::now() + std::time::Duration::from_hours(1))).await;
    let before: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();

    // While the server runs: a dry run, then the import, and once more.
    let (status, text) = run(&fixture, "import", &file, &["--dry-run"]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains(&format!("+ {namespace}/web replicas=3 setBy=client")), "{text}");
    assert!(text.ends_with("2 to change, 0 the same, 0 only in the cluster\n"), "{text}");
    assert!(fixture.object("web").await.is_none());
    let (status, text) = run(&fixture, "import", &file, &[]);
    assert_eq!(status, Some(0), "{text}");
    let (_, text) = run(&fixture, "import", &file, &[]);
    assert_eq!(text, "0 to change, 2 the same, 0 only in the cluster\n");

    // The other store, after a restart in which somebody scales.
    let Fixture { manager, deployments, .. } = fixture;
    manager.terminate().await.unwrap();
    let patch = kube::api::Patch::Merge(json!({ "spec": { "replicas": 9 } }));
    deployments.patch_scale("web", &kube::api::PatchParams::default(), &patch).await.unwrap();
    let of_crd = in_namespace(control_plane, of_file.clone(), &namespace).await;
    let mut fixture = Fixture::start(control_plane, namespace.clone(), of_crd).await;
    fixture.wait_for_count("web", 3).await;
    let read = fixture.get("api").await.unwrap();
    let counts = (read.desired_replicas, read.replicas_afterwards, read.set_by.as_str());
    assert_eq!(counts, (Some(6), Some(4), "client"));
    fixture.set("web", 5).await;

    // And back. The file still has the old settings.
    let (status, text) = run(&fixture, "export", &file, &["--dry-run"]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains("1 to change, 1 the same"), "{text}");
    let (status, text) = run(&fixture, "export", &file, &[]);
    assert_eq!(status, Some(0), "{text}");
    let after: Value = serde_json::from_slice(&fs::read(&file).unwrap()).unwrap();
    assert_eq!((&after[0], &after[1]["replicas"]), (&before[0], &json!(5)));
    let Fixture { manager, .. } = fixture;
    manager.terminate().await.unwrap();
    let mut fixture = Fixture::start(control_plane, namespace, of_file).await;
    fixture.wait_for_count("web", 5).await;
    assert_eq!(fixture.get("web").await.unwrap().set_by, "client");
}

#[tokio::test]
async fn nothing_is_lost() {
    let control_plane = shared().await;
    control_plane.install_replica_counts().await.unwrap();
    let options = options(control_plane, &Scope::Cluster, &[]).await;
    let file = options.store();
    let fixture = Fixture::with_options(control_plane, options).await;
    let namespace = &fixture.namespace;
    let folder = control_plane.folder("nothing-lost").unwrap();
    let file = folder.join(file.file_name().unwrap());
    let foreign = json!({ "name": "web", "namespace": namespace, "replicas": 1, "floor": 3 });
    let plain = json!({ "name": "api", "namespace": namespace, "replicas": 2 });
    fs::write(&file, json!([plain, foreign]).to_string()).unwrap();
    let (status, text) = run(&fixture, "import", &file, &[]);
    assert_eq!(status, Some(64), "{text}");
    assert!(text.contains("\"floor\"") && text.contains("--skip-unsupported"), "{text}");
    assert!(fixture.object("api").await.is_none());
    let (status, text) = run(&fixture, "import", &file, &["--skip-unsupported"]);
    assert_eq!((status, fixture.object("api").await.is_some()), (Some(0), true), "{text}");

    // What the file has and the cluster has not stays, and so does the foreign entry.
    fixture.create_object("new", json!({ "replicas": 7 })).await.unwrap();
    fixture.delete_object("api").await;
    let (status, text) = run(&fixture, "export", &file, &[]);
    assert_eq!(status, Some(0), "{text}");
    assert!(text.contains(&format!("{namespace}/api is only in the file, and stays")), "{text}");
    let text = fs::read_to_string(&file).unwrap();
    assert!(text.contains("\"floor\":3") && text.contains("\"api\"") && text.contains("\"new\""), "{text}");
    fixture.create_object("web", json!({ "replicas": 7 })).await.unwrap();
    let (status, shown) = run(&fixture, "export", &file, &[]);
    assert_eq!((status, fs::read_to_string(&file).unwrap()), (Some(64), text), "{shown}");

    // A file in use, and one that is broken.
    let (status, text) = run(&fixture, "export", &fixture.options.store(), &[]);
    assert_eq!(status, Some(64), "{text}");
    fs::write(&file, "[").unwrap();
    let (status, text) = run(&fixture, "import", &file, &[]);
    assert_eq!(status, Some(64), "{text}");
    let _: &Manager = &fixture.manager;
}
