//! With real processes: scripts of `sh`.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};

use rustix::process::{Pid, test_kill_process};
use serde_json::Value;
use tempfile::TempDir;
use tokio::time::{Instant, timeout};

use super::*;

const V1: &str = "client.authentication.k8s.io/v1";
const LONG: Duration = Duration::from_secs(20);

/// A plugin that runs this script, with its folder as the first argument.
fn plugin(folder: &TempDir, script: &str) -> Plugin {
    let path = folder.path().join("plugin.sh");
    fs::write(&path, format!("#!/bin/sh\n{script}\n")).expect("written");
    fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("allowed");
    let exec = json!({
        "apiVersion": V1, "command": path, "args": [folder.path()],
        "env": [{ "name": "FLAVOUR", "value": "sweet" }], "provideClusterInfo": true, "installHint": "see\nthe docs",
    });
    let cluster = json!({ "server": "https://k8s:6443", "certificate-authority-data": "eA==" });
    let cluster = serde_json::from_value(cluster).expect("valid");
    Plugin::new(serde_json::from_value(exec).expect("valid"), &cluster).expect("usable")
}

fn credential(status: &str) -> String {
    format!(r#"echo '{{"kind":"ExecCredential","apiVersion":"{V1}","status":{status}}}'"#)
}

#[tokio::test]
async fn a_plugin_is_told_what_is_wanted() {
    let folder = TempDir::new().expect("a folder");
    let script = format!(
        r#"echo "$KUBERNETES_EXEC_INFO" > "$1/request"; echo "$FLAVOUR" > "$1/flavour"; [ -t 0 ] || cat > "$1/input"; {}"#,
        credential(r#"{"token":" abc\n","expirationTimestamp":"2027-01-02T03:04:05Z"}"#)
    );
    let obtained = plugin(&folder, &script).run().await.expect("credentials");
    assert_eq!(obtained.authorization.expect("a token"), "Bearer abc");
    assert_eq!(obtained.expires, Some("2027-01-02T03:04:05Z".parse().expect("a time")));
    assert!(obtained.certificate.is_none());
    let read = |name: &str| fs::read_to_string(folder.path().join(name)).expect(name);
    let request: Value = serde_json::from_str(&read("request")).expect("JSON");
    let cluster = json!({ "server": "https://k8s:6443", "certificate-authority-data": "eA==" });
    let spec = json!({ "interactive": false, "cluster": cluster });
    assert_eq!(request, json!({ "apiVersion": V1, "kind": "ExecCredential", "spec": spec }));
    assert_eq!((read("flavour").as_str(), read("input").as_str()), ("sweet\n", ""));
}

#[tokio::test]
async fn what_a_plugin_does_wrong_is_told() {
    let check = async |script: &str, words: &str| {
        let folder = TempDir::new().expect("a folder");
        let refused = plugin(&folder, script).run().await.map(drop).expect_err(script).to_string();
        assert!(refused.contains(words), "{script}: {refused}");
        assert!(!refused.contains("secret") && !refused.contains('\n'), "{refused}");
    };
    check("echo one >&2; echo 'log in first' >&2; exit 3", "failed: exit status 3: log in first").await;
    check("kill -9 $$", "failed: killed by signal 9").await;
    check("echo secret", "printed no usable credentials: not an ExecCredential").await;
    check("head -c 2000000 /dev/zero", "more than 1048576 bytes").await;
    check(&credential(r"{}"), "it has neither a token nor a certificate").await;
    check(&credential(r#"{"token":"a b secret"}"#), "a character that no token has").await;
    check(&credential(r#"{"clientCertificateData":"x"}"#), "a certificate without its key").await;
    check(&credential(r#"{"clientCertificateData":"x","clientKeyData":"y"}"#), "no certificate in it").await;
    check(&credential(r#"{"token":"t","expirationTimestamp":"soon"}"#), "its expirationTimestamp").await;
    check(&credential(r#"{"token":"t"}"#).replace("/v1\"", "/v1beta1\""), "but the kubeconfig says").await;
}

#[tokio::test]
async fn a_missing_plugin_is_told_with_its_hint() {
    let folder = TempDir::new().expect("a folder");
    let plugin = Plugin { command: "/no/such/plugin".to_owned(), ..plugin(&folder, "") };
    let refused = plugin.run().await.map(drop).expect_err("missing").to_string();
    assert_eq!(refused, "the credential plugin \"/no/such/plugin\" was not found; see the docs");
}

#[test]
fn a_plugin_that_cannot_work_is_refused() {
    let check = |exec: Value, words: &str| {
        let exec = serde_json::from_value(exec).expect("valid");
        let refused = Plugin::new(exec, &Cluster::default()).map(drop).expect_err(words);
        assert!(refused.contains(words), "{refused}");
    };
    check(json!({ "apiVersion": V1 }), "the command of the credential plugin is missing");
    check(json!({ "command": "x" }), "the apiVersion \"\" is not known");
    check(json!({ "command": "x", "apiVersion": V1, "interactiveMode": "Always" }), "wants a terminal");
    check(json!({ "command": "x", "apiVersion": V1, "env": [{ "name": "a=b" }] }), "is not the name");
}

/// The processes that a script wrote into the file `pids`: itself, and one that it started.
async fn processes(folder: &Path) -> [Pid; 2] {
    loop {
        let text = fs::read_to_string(folder.join("pids")).unwrap_or_default();
        let pids: Vec<Pid> =
            text.lines().filter_map(|line| line.parse().ok()).filter_map(Pid::from_raw).collect();
        if let Ok(pids) = pids.try_into() {
            return pids;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

async fn until_gone(pids: [Pid; 2]) {
    let gone = async {
        for pid in pids {
            while test_kill_process(pid).is_ok() && !is_zombie(pid) {
                tokio::time::sleep(Duration::from_millis(5)).await;
            }
        }
    };
    timeout(LONG, gone).await.expect("killed");
}

/// Dead, and not yet reaped by the process that inherited it.
fn is_zombie(pid: Pid) -> bool {
    let path: PathBuf = format!("/proc/{}/stat", pid.as_raw_nonzero()).into();
    fs::read_to_string(path).is_ok_and(|stat| stat.contains(") Z "))
}

const HANG: &str =
    r#"trap '' TERM; sleep 1000 & { echo $$; echo $!; } > "$1/pids"; echo wait >&2; wait; wait"#;

#[tokio::test]
async fn a_plugin_that_hangs_is_killed_with_all_that_it_started() {
    let folder = TempDir::new().expect("a folder");
    let plugin = plugin(&folder, HANG);
    let started = Instant::now();
    let limit = Duration::from_millis(500);
    let (refused, pids) = tokio::join!(plugin.run_within(limit), processes(folder.path()));
    let refused = refused.map(drop).expect_err("it hangs").to_string();
    assert!(refused.contains("and was killed; it said: wait"), "{refused}");
    assert!(started.elapsed() < LONG, "{:?}", started.elapsed());
    until_gone(pids).await;
}

#[tokio::test]
async fn a_plugin_that_nobody_waits_for_is_killed() {
    let folder = TempDir::new().expect("a folder");
    let plugin = plugin(&folder, HANG);
    let pids = tokio::select! {
        _ = plugin.run() => panic!("it hangs"),
        pids = processes(folder.path()) => pids,
    };
    until_gone(pids).await;
}

#[tokio::test]
async fn what_a_plugin_leaves_running_is_killed() {
    let folder = TempDir::new().expect("a folder");
    let script =
        format!(r#"sleep 1000 & {{ echo $$; echo $!; }} > "$1/pids"; {}"#, credential(r#"{"token":"t"}"#));
    let started = Instant::now();
    plugin(&folder, &script).run().await.expect("credentials");
    assert!(started.elapsed() < LONG, "{:?}", started.elapsed());
    until_gone(processes(folder.path()).await).await;
}
