//! With a server that accepts one token at a time, and real files and plugins.

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use axum::Router;
use axum::extract::State;
use axum::http::{HeaderMap, StatusCode, header};
use axum::routing::get;
use kube::Client;
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::TcpListener;

use super::*;
use crate::kubernetes::connect::connect;
use crate::kubernetes::source::Source;

/// Longer than any condition takes.
const LONG: Duration = Duration::from_secs(30);

/// An API server, and a folder for a kubeconfig.
struct Scene {
    folder: TempDir,
    url: String,
    /// The token that the API server accepts.
    accepted: Arc<Mutex<String>>,
}

impl Scene {
    async fn new() -> Self {
        let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let url = format!("http://{}", listener.local_addr().expect("bound"));
        let accepted: Arc<Mutex<String>> = Arc::default();
        let router = Router::new().route("/version", get(version)).with_state(Arc::clone(&accepted));
        tokio::spawn(async move { axum::serve(listener, router).await });
        Self { folder: TempDir::new().expect("a folder"), url, accepted }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    fn accept(&self, token: &str) {
        token.clone_into(&mut self.accepted.lock().expect("no panic"));
    }

    /// Writes a kubeconfig with this user and opens it.
    fn open(&self, user: &Value) -> (Client, Renewal) {
        connect(self.opened(user)).expect("usable")
    }

    fn opened(&self, user: &Value) -> Opened {
        let kubeconfig = json!({
            "clusters": [{ "name": "k", "cluster": { "server": self.url } }],
            "users": [{ "name": "u", "user": user }],
            "contexts": [{ "name": "c", "context": { "cluster": "k", "user": "u" } }],
            "current-context": "c",
        });
        let path = self.path("config");
        replace(&path, &kubeconfig.to_string());
        Source { kubeconfig: Some(path), context: None }.open().expect("usable")
    }

    /// The same with a plugin that prints `status`, counts its runs, and hangs while there is a file `hang`.
    fn open_plugin(&self) -> (Client, Renewal) {
        let script = r#"#!/bin/sh
cd "$1"; echo >> runs
while [ -e hang ]; do sleep 0.02; done
echo '{"kind":"ExecCredential","apiVersion":"client.authentication.k8s.io/v1","status":'
cat status && echo '}'
"#;
        let path = self.path("plugin.sh");
        replace(&path, script);
        fs::set_permissions(&path, fs::Permissions::from_mode(0o700)).expect("allowed");
        let version = "client.authentication.k8s.io/v1";
        self.open(
            &json!({ "exec": { "apiVersion": version, "command": path, "args": [self.folder.path()] } }),
        )
    }

    fn give(&self, status: &Value) {
        replace(&self.path("status"), &status.to_string());
    }

    fn runs(&self) -> usize {
        fs::read_to_string(self.path("runs")).map_or(0, |text| text.lines().count())
    }
}

async fn version(State(accepted): State<Arc<Mutex<String>>>, headers: HeaderMap) -> (StatusCode, String) {
    let expected = format!("Bearer {}", accepted.lock().expect("no panic"));
    if headers.get(header::AUTHORIZATION).is_some_and(|value| value.as_bytes() == expected.as_bytes()) {
        let version = ["major", "minor", "gitVersion", "gitCommit", "gitTreeState", "buildDate", "goVersion"];
        let version: serde_json::Map<_, _> =
            version.iter().map(|key| ((*key).to_owned(), "1".into())).collect();
        let mut version = Value::Object(version);
        (version["compiler"], version["platform"]) = ("1".into(), "1".into());
        (StatusCode::OK, version.to_string())
    } else {
        (
            StatusCode::UNAUTHORIZED,
            json!({ "kind": "Status", "code": 401, "message": "Unauthorized" }).to_string(),
        )
    }
}

/// Replaces a file as a whole.
fn replace(path: &Path, text: &str) {
    let new = path.with_extension("new");
    fs::write(&new, text).expect("written");
    fs::rename(new, path).expect("replaced");
}

async fn until_accepted(client: &Client) {
    let accepted = async {
        while client.apiserver_version().await.is_err() {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, accepted).await.expect("accepted in time");
}

/// The server counts as authenticated after some seconds without a refusal.
async fn until_authenticated(client: &Client, standing: &Standing) {
    let authenticated = async {
        while standing.unauthenticated().is_some() {
            client.apiserver_version().await.expect("accepted");
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, authenticated).await.expect("authenticated in time");
}

async fn refusal(client: &Client) -> String {
    chain(&client.apiserver_version().await.map(drop).expect_err("refused"))
}

#[tokio::test]
async fn a_token_file_is_followed() {
    let scene = Scene::new().await;
    replace(&scene.path("token"), "one\n");
    scene.accept("one");
    let (client, renewal) = scene.open(&json!({ "tokenFile": "token" }));
    let standing = renewal.standing();
    let task = tokio::spawn(renewal.run(CancellationToken::new()));
    client.apiserver_version().await.expect("accepted");
    for token in ["two", "three"] {
        scene.accept(token);
        assert!(refusal(&client).await.contains("Unauthorized"));
        assert!(standing.unauthenticated().is_some());
        replace(&scene.path("token"), &format!("{token}\n"));
        until_accepted(&client).await;
    }
    until_authenticated(&client, &standing).await;
    task.abort();
}

#[tokio::test]
async fn a_rewritten_kubeconfig_is_followed_and_the_last_good_one_kept() {
    let scene = Scene::new().await;
    scene.accept("one");
    let (client, renewal) = scene.open(&json!({ "token": "one" }));
    let mut renewal = renewal;
    replace(&scene.path("config"), "half of it");
    renewal.look(false).await;
    client.apiserver_version().await.expect("the last good one is in use");
    assert!(
        renewal.reported.as_ref().is_some_and(|reason| reason.contains("config")),
        "{:?}",
        renewal.reported
    );
    let (_client, other) = scene.open(&json!({ "token": "two" }));
    drop(other);
    scene.accept("two");
    renewal.look(false).await;
    client.apiserver_version().await.expect("the new one is in use");
    assert_eq!(renewal.reported, None);
}

#[tokio::test]
async fn a_plugin_whose_token_is_revoked_runs_again_but_not_at_once() {
    let scene = Scene::new().await;
    scene.give(&json!({ "token": "one" }));
    scene.accept("one");
    let (client, renewal) = scene.open_plugin();
    let task = tokio::spawn(renewal.run(CancellationToken::new()));
    until_accepted(&client).await;
    assert_eq!(scene.runs(), 1);
    scene.give(&json!({ "token": "two" }));
    scene.accept("two");
    until_accepted(&client).await;
    assert_eq!(scene.runs(), 2);
    // All that the plugin gives is refused: it runs at growing intervals, however many requests there are.
    scene.accept("nothing");
    let until = Instant::now() + Duration::from_secs(10);
    for number in 0.. {
        scene.give(&json!({ "token": format!("new-{number}") }));
        assert!(refusal(&client).await.contains("Unauthorized"));
        if Instant::now() > until {
            break;
        }
        sleep(Duration::from_millis(5)).await;
    }
    assert!((3..=5).contains(&scene.runs()), "{}", scene.runs());
    task.abort();
}

#[tokio::test]
async fn a_plugin_does_not_run_for_a_refusal_that_has_passed() {
    let scene = Scene::new().await;
    scene.give(&json!({ "token": "one" }));
    scene.accept("one");
    let (client, renewal) = scene.open_plugin();
    let task = tokio::spawn(renewal.run(CancellationToken::new()));
    until_accepted(&client).await;
    scene.accept("nothing");
    assert!(refusal(&client).await.contains("Unauthorized"));
    let ran = async {
        while scene.runs() < 2 {
            sleep(Duration::from_millis(20)).await;
        }
    };
    timeout(LONG, ran).await.expect("it runs for the refusal");
    // It gives the same token, which is accepted again.
    scene.accept("one");
    until_accepted(&client).await;
    sleep(3 * PERIOD).await;
    assert_eq!(scene.runs(), 2);
    task.abort();
}

#[tokio::test]
async fn another_plugin_in_a_rewritten_kubeconfig_is_run() {
    let scene = Scene::new().await;
    scene.give(&json!({ "token": "one" }));
    let (_client, mut renewal) = scene.open_plugin();
    renewal.look(false).await;
    renewal.look(false).await;
    assert_eq!(scene.runs(), 1);
    let kubeconfig = fs::read_to_string(scene.path("config")).expect("written");
    replace(&scene.path("config"), &kubeconfig.replace("plugin.sh", "./plugin.sh"));
    renewal.look(false).await;
    assert_eq!(scene.runs(), 2);
}

#[tokio::test]
async fn credentials_are_renewed_before_they_expire() {
    let scene = Scene::new().await;
    let (_client, mut renewal) = scene.open_plugin();
    let mut check = async |expires: Option<Duration>, runs: usize| {
        let expires = expires.map(|after| (Timestamp::now() + after).to_string());
        scene.give(&json!({ "token": "one", "expirationTimestamp": expires }));
        renewal.given.next = None;
        renewal.look(false).await;
        assert_eq!(scene.runs(), runs, "{expires:?}");
    };
    check(Some(AHEAD / 2), 1).await;
    check(Some(AHEAD * 2), 2).await;
    // The last ones are good for long.
    check(None, 2).await;
}

#[tokio::test]
async fn while_a_plugin_fails_the_last_credentials_stay_in_use() {
    let scene = Scene::new().await;
    scene.give(&json!({ "token": "one", "expirationTimestamp": Timestamp::now().to_string() }));
    scene.accept("one");
    let (client, mut renewal) = scene.open_plugin();
    assert!(refusal(&client).await.contains("the credential plugin is still running"));
    renewal.look(false).await;
    client.apiserver_version().await.expect("accepted");
    fs::remove_file(scene.path("status")).expect("removed");
    renewal.given.next = None;
    renewal.look(false).await;
    assert!(renewal.reported.as_ref().is_some_and(|reason| reason.contains("exit status 1")));
    client.apiserver_version().await.expect("still accepted");
    assert_eq!(renewal.standing.unauthenticated(), None);
}

#[tokio::test]
async fn a_plugin_that_never_gave_anything_is_told_to_requests() {
    let scene = Scene::new().await;
    let (client, mut renewal) = scene.open_plugin();
    renewal.look(false).await;
    let refused = refusal(&client).await;
    assert!(refused.contains("no credentials to send: ") && refused.contains("exit status 1"), "{refused}");
    assert!(renewal.standing.unauthenticated().is_some());
    scene.give(&json!({ "token": "one" }));
    scene.accept("one");
    renewal.given.next = None;
    renewal.look(false).await;
    until_authenticated(&client, &renewal.standing).await;
}

#[tokio::test(start_paused = true)]
async fn only_an_answer_to_the_credentials_in_use_accepts_them() {
    let scene = Scene::new().await;
    let (mut renewal, connection) = Renewal::start(scene.opened(&json!({ "token": "one" }))).expect("usable");
    scene.opened(&json!({ "token": "two" }));
    renewal.look(false).await;
    let check = async |code: u16, generation: u64, accepted: bool| {
        connection.record(StatusCode::UNAUTHORIZED, 2, "a test");
        tokio::time::advance(PERIOD).await;
        connection.record(StatusCode::from_u16(code).expect("valid"), generation, "a test");
        let refused = if accepted { 0 } else { 2 };
        assert_eq!(*renewal.refused.borrow(), refused, "{code}");
        assert_eq!(renewal.standing.unauthenticated().is_none(), accepted, "{code}");
    };
    check(200, 1, false).await;
    check(502, 2, false).await;
    check(503, 2, false).await;
    check(403, 2, true).await;
    check(200, 2, true).await;
    connection.record(StatusCode::UNAUTHORIZED, 1, "a test");
    assert_eq!(renewal.standing.unauthenticated(), None);
}

#[tokio::test]
async fn one_plugin_runs_at_a_time_and_ends_with_the_server() {
    let scene = Scene::new().await;
    replace(&scene.path("hang"), "");
    let (client, renewal) = scene.open_plugin();
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(renewal.run(shutdown.clone()));
    for _ in 0..3 {
        assert!(refusal(&client).await.contains("the credential plugin is still running"));
    }
    assert_eq!(scene.runs(), 1);
    shutdown.cancel();
    timeout(Duration::from_secs(1), task).await.expect("ended at once").expect("no panic");
}
