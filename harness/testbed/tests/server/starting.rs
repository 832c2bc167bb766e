//! The start: ports are bound at once, and SIGTERM ends every moment of it.

use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt as _;
use std::time::Duration;

use replica_count_testbed::Manager;
use rustix::process::{Pid, test_kill_process};
use serde_json::{Value, json};
use tokio::time::Instant;

use crate::fixture::eventually;
use crate::standalone::Standalone;

/// How soon a server must end.
const LIMIT: Duration = Duration::from_secs(2);

/// Starts a server with this cluster and user in its kubeconfig, waits until `/healthz` says that, and ends it.
async fn check(standalone: &Standalone, cluster: &Value, user: &Value, reason: &str) {
    let kubeconfig = json!({
        "clusters": [{ "name": "k", "cluster": cluster }],
        "users": [{ "name": "u", "user": user }],
        "contexts": [{ "name": "c", "context": { "cluster": "k", "user": "u" } }],
        "current-context": "c",
    });
    fs::write(standalone.kubeconfig(), kubeconfig.to_string()).unwrap();
    let manager = Manager::start(&standalone.options(&[])).await.unwrap();
    assert_eq!(manager.get("/livez").await.unwrap().0, 200, "{cluster}");
    assert_eq!(manager.get("/readyz").await.unwrap().0, 503, "{cluster}");
    eventually(&format!("/healthz says {reason}"), async || match manager.get("/healthz").await.unwrap() {
        (503, body) if body.starts_with(reason) => Ok(()),
        other => Err(other),
    })
    .await;
    let signalled = Instant::now();
    let status = manager.terminate().await.unwrap();
    assert_eq!(status.code(), Some(0), "{cluster}");
    assert!(signalled.elapsed() < LIMIT, "{cluster}: {:?}", signalled.elapsed());
}

/// An address at which nothing listens: the port was free, and is not given out again soon.
fn closed_address() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

#[tokio::test]
async fn an_api_server_that_cannot_be_reached_blocks_nothing() {
    let standalone = Standalone::new();
    let silent = standalone.address();
    let closed = closed_address();
    let cases = [
        (json!({ "server": format!("http://{silent}") }), "timeout: "),
        (json!({ "server": format!("https://{silent}") }), "timeout: "),
        (json!({ "server": format!("https://{closed}") }), "refused: "),
        (json!({ "server": "https://api.invalid:6443" }), "dns: "),
        (json!({ "server": "https://api.invalid:6443", "proxy-url": format!("http://{closed}") }), "proxy: "),
        (
            json!({ "server": "https://api.invalid:6443", "proxy-url": format!("http://{silent}") }),
            "timeout: ",
        ),
    ];
    for (cluster, reason) in cases {
        check(&standalone, &cluster, &json!({}), reason).await;
    }
}

#[tokio::test]
async fn a_plugin_that_hangs_blocks_nothing_and_ends_with_the_server() {
    let standalone = Standalone::new();
    let (plugin, pids) = (standalone.path("plugin.sh"), standalone.path("pids"));
    let script = "#!/bin/sh\ntrap '' TERM\nsleep 1000 &\n{ echo $$; echo $!; } >> \"$1\"\nwait; wait\n";
    fs::write(&plugin, script).unwrap();
    fs::set_permissions(&plugin, fs::Permissions::from_mode(0o700)).unwrap();
    let version = "client.authentication.k8s.io/v1";
    let user = json!({ "exec": { "apiVersion": version, "command": plugin, "args": [pids] } });
    let cluster = json!({ "server": format!("http://{}", standalone.address()) });
    check(&standalone, &cluster, &user, "credentials: ").await;

    let pids: Vec<Pid> = fs::read_to_string(pids)
        .unwrap()
        .lines()
        .map(|line| Pid::from_raw(line.parse().unwrap()).unwrap())
        .collect();
    assert_eq!(pids.len(), 2, "one plugin, and what it started");
    for pid in pids {
        eventually("the plugin is gone", async || match test_kill_process(pid) {
            Ok(()) => fs::read_to_string(format!("/proc/{}/stat", pid.as_raw_nonzero()))
                .map_or(Ok(()), |stat| if stat.contains(") Z ") { Ok(()) } else { Err(stat) }),
            Err(_gone) => Ok(()),
        })
        .await;
    }
}
