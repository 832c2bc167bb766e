//! A settings file that can be read but not written: the server enforces and answers, and says that it cannot store.
//!
//! The disk is a mount that only the server sees, so the tests need not be root.

use std::fs;
use std::path::PathBuf;

use replica_count_api::proto::DeploymentState;
use replica_count_testbed::control_plane::Scope;
use replica_count_testbed::manager::{Manager, Options};
use tonic::Code;
use tonic_types::StatusExt as _;

use crate::fixture::{Fixture, options, shared};

/// Mounts a tmpfs of one page less than it takes to write anything beside the settings file, which is copied there.
const FULL_DISK: &str = r#"
    mount -t tmpfs -o size=64k none "$DISK"
    cat "$SETTINGS" >"$DISK/replicas.json"
    cat /dev/zero >"$DISK/filler" 2>/dev/null
    exec "$@""#;
/// Mounts the folder of the settings file read-only.
const READ_ONLY_DISK: &str = r#"
    cat "$SETTINGS" >"$DISK/replicas.json"
    mount --bind "$DISK" "$DISK" && mount -o remount,bind,ro "$DISK"
    exec "$@""#;

/// The options of a server whose settings are on a disk that `script` mounts, with one setting of 3 for `web`.
async fn on_disk(namespace: &str, script: &str) -> (Options, PathBuf) {
    let control_plane = shared().await;
    let options = options(control_plane, &Scope::Cluster, &[]).await;
    let settings = options.store();
    let disk = settings.with_file_name("disk");
    fs::create_dir(&disk).unwrap();
    let text = format!(r#"[{{"name": "web", "namespace": "{namespace}", "replicas": 3}}]"#);
    fs::write(&settings, text).unwrap();
    // Without being root, it is in a user namespace of its own.
    let launcher = ["unshare", "--map-root-user", "--mount", "sh", "-c", script, "sh"];
    let options = options
        .variable("DISK", &disk)
        .variable("SETTINGS", &settings)
        .argument("--file-path")
        .argument(disk.join("replicas.json"))
        .through(launcher);
    (options, disk)
}

async fn server(script: &str) -> (Fixture<'static>, PathBuf) {
    let control_plane = shared().await;
    let namespace = control_plane.namespace("unwritable").await.unwrap();
    control_plane.deployment(&namespace, "web", 1).await.unwrap();
    let (options, disk) = on_disk(&namespace, script).await;
    (Fixture::start(control_plane, namespace, options).await, disk)
}

impl Fixture<'_> {
    /// Whether the settings can be written, as a metric.
    async fn is_writable(&self) -> bool {
        let metrics = self.manager.metrics().await.unwrap();
        let name = "replica_count_manager_store_writable ";
        metrics.lines().find_map(|line| line.strip_prefix(name)).unwrap() == "1"
    }

    async fn readiness(&self) -> String {
        let (status, body) = self.manager.get("/readyz").await.unwrap();
        assert_eq!(status, 200, "{body}");
        body
    }

    /// Checks that the server enforces, answers reads and refuses changes, and says why.
    async fn check_unwritable(&mut self, code: Code, reason: &str, cause: &str) {
        self.wait_for_state("web", DeploymentState::InSync).await;
        self.scale("web", 5).await;
        self.wait_for_count("web", 3).await;
        let request = self.set_request("web", 4);
        let status = self.client.set_deployment(request).await.unwrap_err();
        assert_eq!(status.code(), code, "{status}");
        assert_eq!(status.get_details_error_info().unwrap().reason, reason);
        assert!(status.message().starts_with("nothing was stored"), "{status}");
        assert_eq!(self.get("web").await.unwrap().desired_replicas, Some(3));
        let body = self.readiness().await;
        assert!(body.starts_with("ok\n") && body.contains(cause), "{body}");
        assert!(!self.is_writable().await);
        let log = self.manager.log().join("\n");
        assert!(log.contains("changes are refused") && log.contains(cause), "{log}");
    }
}

#[tokio::test]
async fn a_full_disk_ends_neither_enforcement_nor_reads() {
    let (mut fixture, disk) = server(FULL_DISK).await;
    fixture.check_unwritable(Code::ResourceExhausted, "STORE_FULL", "No space left on device").await;

    // With space, it works again without a restart.
    let in_server = format!("/proc/{}/root{}", fixture.manager.pid(), disk.join("filler").display());
    fs::remove_file(in_server).unwrap();
    fixture.set("web", 4).await;
    fixture.wait_for_count("web", 4).await;
    assert_eq!((&*fixture.readiness().await, fixture.is_writable().await), ("ok\n", true));
}

#[tokio::test]
async fn a_read_only_disk_ends_neither_enforcement_nor_reads() {
    let (mut fixture, _) = server(READ_ONLY_DISK).await;
    fixture.check_unwritable(Code::Unavailable, "STORE_UNAVAILABLE", "read-only").await;

    // The settings file is locked, because there is no lock file.
    let second = fixture.options.clone().through(Vec::<String>::new());
    let (status, log) = Manager::start_expecting_failure(&second).await.unwrap();
    assert!(!status.success());
    assert!(log.join("\n").contains("is in use: another process holds the lock on"), "{log:#?}");
}

#[tokio::test]
async fn an_earlier_lock_file_is_used_on_a_read_only_disk() {
    let script = format!("touch \"$DISK/replicas.json.lock\"{READ_ONLY_DISK}");
    let (mut fixture, _) = server(&script).await;
    fixture.check_unwritable(Code::Unavailable, "STORE_UNAVAILABLE", "Read-only file system").await;
    let second = fixture.options.clone().through(Vec::<String>::new());
    let (_, log) = Manager::start_expecting_failure(&second).await.unwrap();
    assert!(log.join("\n").contains("replicas.json.lock"), "{log:#?}");
}

#[tokio::test]
async fn without_a_settings_file_a_read_only_disk_is_refused() {
    let (options, _) =
        on_disk("none", &READ_ONLY_DISK.replace(r#"cat "$SETTINGS" >"$DISK/replicas.json""#, "")).await;
    let (status, log) = Manager::start_expecting_failure(&options).await.unwrap();
    assert_eq!(status.code(), Some(64), "{log:#?}");
    let line = log.join("\n");
    assert!(line.contains("cannot lock") && line.contains("Read-only file system"), "{line}");
}
