//! Notifications reach their receivers, whatever those do, and delay nothing else.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};
use std::time::Duration;

use aws_lc_rs::hmac;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use replica_count_api::proto::EventType;
use replica_count_testbed::control_plane::Scope;
use replica_count_testbed::receiver::{Behaviour, Received, Receiver};
use replica_count_testbed::{ControlPlane, Manager, workspace};
use serde_json::Value;
use tokio::time::Instant;

use crate::crd::with_crd;
use crate::fixture::{Fixture, eventually, options, shared, wait_for_metric};
use crate::history::{check_drifted, next};
use crate::kubernetes_events::{STORY, owned};

/// The signing key, in base64.
const KEY: &str = "MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";
/// What must be in no log.
const SECRETS: [&str; 3] = ["T000", KEY, "t0ken"];

/// The files of a configuration whose receivers are at `url`.
struct Config {
    folder: PathBuf,
}

impl Config {
    fn new(control_plane: &ControlPlane, url: &str) -> Self {
        let this = Self { folder: control_plane.folder("notify").unwrap() };
        this.write("slack-url", &format!("{url}/slack/T000"));
        this.write("teams-url", &format!("{url}/teams/T000"));
        this.write("key", &format!("whsec_{KEY}"));
        this.write("token", "t0ken");
        let ca = control_plane.certificate_authority().display().to_string();
        this.write(
            "notify.yaml",
            &format!(
                "window: 1s
links:
  - {{text: Dashboard, url: 'https://grafana.example.com/d/rcm?var-name={{name}}'}}
receivers:
  - {{name: chat, slack: {{urlFile: slack-url, caFile: {ca}}}}}
  - {{name: cards, teams: {{urlFile: teams-url, caFile: {ca}}}}}
  - {{name: audit, webhook: {{url: {url}/hook, caFile: {ca}, signingKeyFile: key}}}}
  - {{name: alerts, alertmanager: {{url: {url}, caFile: {ca}, bearerTokenFile: token}}}}
routes:
  - {{name: people, receiver: chat, severity: warning}}
  - {{name: cards, receiver: cards, events: [drifted]}}
  - {{name: audit, receiver: audit}}
  - {{name: alerts, receiver: alerts, severity: warning}}
"
            ),
        );
        this
    }

    fn path(&self) -> PathBuf {
        self.folder.join("notify.yaml")
    }

    fn write(&self, name: &str, text: &str) {
        fs::write(self.folder.join(name), text).unwrap();
    }

    fn replace(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.path()).unwrap();
        assert!(text.contains(from), "{text}");
        self.write("notify.yaml", &text.replace(from, to));
    }

    async fn fixture(&self, control_plane: &'static ControlPlane) -> Fixture<'static> {
        // Only its own namespace: other tests cause events, too.
        let namespace = control_plane.namespace("notify").await.unwrap();
        let options = options(control_plane, &Scope::Cluster, &["--namespace", &namespace]).await;
        let options = options.argument("--notify-config").argument(self.path());
        Fixture::start(control_plane, namespace, options).await
    }

    fn run(&self, arguments: &[&str]) -> Output {
        let program = workspace::built_binary("replica-count-manager", "replica-count-manager").unwrap();
        let mut command = Command::new(program);
        command.env_clear().arg("notify").arg("--notify-config").arg(self.path());
        command.args(arguments).output().unwrap()
    }
}

/// Waits for an accepted request with this path that satisfies `is_it`.
async fn wait_for(receiver: &Receiver, path: &str, is_it: impl Fn(&Value) -> bool) -> Received {
    eventually(&format!("{path} was called"), async || {
        let received = receiver.received();
        let found = received.iter().find(|request| {
            request.path == path && (200..300).contains(&request.status) && is_it(&request.json())
        });
        found.cloned().ok_or(received)
    })
    .await
}

fn has(body: &Value, text: &str) -> bool {
    body.to_string().contains(text)
}

/// Checks a signature as Standard Webhooks describes it.
fn check_signature(request: &Received) {
    let header = |name: &str| request.headers.get(name).cloned().unwrap_or_default();
    let mut signed = format!("{}.{}.", header("webhook-id"), header("webhook-timestamp")).into_bytes();
    signed.extend(&request.body);
    let key = hmac::Key::new(hmac::HMAC_SHA256, &STANDARD.decode(KEY).unwrap());
    let signature = STANDARD.decode(header("webhook-signature").strip_prefix("v1,").unwrap()).unwrap();
    hmac::verify(&key, &signed, &signature).unwrap();
}

/// Waits for a line of the log.
async fn logged(fixture: &Fixture<'_>, words: &str) -> String {
    eventually(words, async || {
        let log = fixture.manager.log();
        log.iter().find(|line| line.contains(words)).cloned().ok_or(log)
    })
    .await
}

fn check_no_secrets(log: &[String]) {
    for secret in SECRETS {
        assert!(!log.iter().any(|line| line.contains(secret)), "{log:#?}");
    }
}

/// The log, Get, the stream, the history also after a kill, the Event of Kubernetes, the metric, the chat and the signed
/// webhook.
#[tokio::test]
async fn one_drift_is_told_everywhere() {
    let control_plane = shared().await;
    let receiver = Receiver::start(control_plane).await.unwrap();
    let config = Config::new(control_plane, receiver.url());
    let mut fixture = config.fixture(control_plane).await;
    fixture.create_managed("web", 3).await;
    let (mut stream, _) = fixture.watch(&[EventType::EventDrifted, EventType::EventRepaired]).await;
    fixture.kubectl_scale("web", 7);

    check_drifted(&next(&mut stream).await);
    assert_eq!(next(&mut stream).await.r#type(), EventType::EventRepaired);
    let answer = fixture.wait_for("web", |answer| answer.current_replicas == Some(3)).await;
    let drift = answer.last_drift.unwrap();
    assert_eq!((&*drift.by, &*drift.subresource, answer.drift_count), ("kubectl", "scale", 1));
    assert_eq!((drift.from, drift.to), (Some(3), Some(7)));
    assert_eq!(fixture.wait_for_events("Deployment", 3).await, owned(&STORY));
    wait_for_metric(&fixture.manager, "drifts_total 1").await;

    let text = "kubectl through scale changed the count from 3 to 7";
    let chat = wait_for(&receiver, "/slack/T000", |body| has(body, text)).await.json();
    let title = format!("⚠️ Deployment {}/web: 1 drifted", fixture.namespace);
    assert_eq!((&chat["blocks"][0]["text"]["text"], &chat["text"]), (&title.clone().into(), &title.into()));
    let heading = format!(
        "*<https://grafana.example.com/d/rcm?var-name=web|Deployment {}/web>*\n{text}.",
        fixture.namespace
    );
    assert_eq!(chat["blocks"][1]["text"]["text"], heading);
    wait_for(&receiver, "/teams/T000", |body| has(body, text)).await;
    let audit = wait_for(&receiver, "/hook", |body| has(body, text)).await;
    check_signature(&audit);
    let told = audit.json();
    let events = told["data"]["events"].as_array().unwrap();
    let drifted = events.iter().find(|event| event["type"] == "drifted").unwrap();
    assert_eq!(
        (&drifted["from"], &drifted["to"], &drifted["by"]["name"]),
        (&3.into(), &7.into(), &"kubectl".into())
    );
    assert_eq!((&drifted["count"], &told["data"]["counts"]["drifted"]), (&1.into(), &1.into()));
    assert_eq!(audit.headers["content-type"], "application/cloudevents+json; charset=utf-8");
    let alerts = wait_for(&receiver, "/api/v2/alerts", |body| has(body, text)).await;
    assert_eq!(alerts.json()[0]["labels"]["alertname"], "ReplicaCountDrifted");
    assert_eq!(alerts.headers["authorization"], "Bearer t0ken");

    let log = fixture.manager.log();
    let line = log.iter().find(|line| line.contains("\"drifted\"")).unwrap();
    assert!(line.contains("\"by\":\"kubectl\"") && line.contains("\"via\":\"scale\""), "{line}");
    check_no_secrets(&log);
    let fixture = fixture.restart(async |_| ()).await;
    check_drifted(&fixture.events(&[EventType::EventDrifted]).await[0]);
}

#[tokio::test]
async fn a_receiver_that_fails_gets_the_same_message_again() {
    let control_plane = shared().await;
    let receiver = Receiver::start(control_plane).await.unwrap();
    let config = Config::new(control_plane, receiver.url());
    config.replace("  - {name: people, receiver: chat, severity: warning}\n", "");
    config.replace("  - {name: cards, receiver: cards, events: [drifted]}\n", "");
    config.replace("  - {name: alerts, receiver: alerts, severity: warning}\n", "");
    receiver.behave([Behaviour::Status(503), Behaviour::Garbage, Behaviour::Wait(1)]);
    let mut fixture = config.fixture(control_plane).await;
    fixture.create_managed("web", 3).await;
    let accepted = wait_for(&receiver, "/hook", |_| true).await;
    check_signature(&accepted);
    let received = receiver.received();
    assert_eq!(received.iter().map(|request| request.status).collect::<Vec<_>>(), [503, 429, 202]);
    assert!(received.iter().all(|request| request.headers["webhook-id"] == accepted.headers["webhook-id"]));
    wait_for_metric(&fixture.manager, "notifications_sent_total{service=\"webhook\"} 1").await;
    wait_for_metric(&fixture.manager, "notification_retries_total{service=\"webhook\"} 3").await;
    wait_for_metric(&fixture.manager, "notifications_waiting 0").await;
    check_no_secrets(&fixture.manager.log());
}

#[tokio::test]
async fn a_redirect_is_never_followed_and_its_host_is_named() {
    let control_plane = shared().await;
    let (receiver, other) =
        (Receiver::start(control_plane).await.unwrap(), Receiver::start(control_plane).await.unwrap());
    let config = Config::new(control_plane, receiver.url());
    let to = format!("{}/hook", other.url().replace("127.0.0.1", "localhost"));
    receiver.behave([(); 4].map(|()| Behaviour::Redirect(to.clone())));
    let mut fixture = config.fixture(control_plane).await;
    fixture.create_managed("web", 3).await;
    wait_for_metric(&fixture.manager, "notifications_failed_total{service=\"webhook\"} 1").await;
    logged(&fixture, "127.0.0.1 redirects to localhost (302 Found), which is never followed").await;
    assert!(other.received().is_empty());
    check_no_secrets(&fixture.manager.log());
}

/// How long a Set and a repair may take on a busy machine.
const SOON: Duration = Duration::from_secs(5);

#[tokio::test]
async fn receivers_that_hang_delay_nothing() {
    let control_plane = shared().await;
    let receiver = Receiver::start(control_plane).await.unwrap();
    receiver.behave(vec![Behaviour::Stall; 1000]);
    let config = Config::new(control_plane, receiver.url());
    let mut fixture = config.fixture(control_plane).await;
    fixture.create_managed("web", 3).await;
    let (begun, mut longest) = (Instant::now(), Duration::ZERO);
    for drifts in 1..=8 {
        let started = Instant::now();
        fixture.set("web", 3).await;
        fixture.scale("web", 7).await;
        fixture
            .wait_for("web", |answer| answer.drift_count == drifts && answer.current_replicas == Some(3))
            .await;
        longest = longest.max(started.elapsed());
    }
    assert!(longest < SOON, "{longest:?}");
    eventually("all receivers hang", async || {
        let received = receiver.received().len();
        if received >= 4 { Ok(()) } else { Err(received) }
    })
    .await;
    println!("Set and repair while 4 receivers hang: {longest:?} at most, {:?} in all", begun.elapsed());
    let ending = Instant::now();
    assert!(fixture.manager.terminate().await.unwrap().success());
    assert!(ending.elapsed() < Duration::from_secs(10), "{:?}", ending.elapsed());
}

#[tokio::test]
async fn a_mass_drift_is_few_messages_that_count_all() {
    const WORKLOADS: usize = 50;
    let control_plane = shared().await;
    let receiver = Receiver::start(control_plane).await.unwrap();
    let config = Config::new(control_plane, receiver.url());
    config.replace("window: 1s", "window: 5s");
    let mut fixture = config.fixture(control_plane).await;
    let names: Vec<_> = (0..WORKLOADS).map(|number| format!("web-{number}")).collect();
    for name in &names {
        fixture.create_managed(name, 1).await;
    }
    futures_util::future::join_all(names.iter().map(|name| fixture.scale(name, 3))).await;
    let drifted = eventually("all drifts are in a message", async || {
        let received = receiver.received();
        let of_route = received.iter().filter(|request| request.path == "/hook").map(Received::json);
        let counts: Vec<_> = of_route.filter_map(|body| body["data"]["counts"]["drifted"].as_u64()).collect();
        if counts.iter().sum::<u64>() == WORKLOADS as u64 { Ok(counts) } else { Err(counts) }
    })
    .await;
    assert!(drifted.len() <= 2, "{drifted:?}");
    let names = eventually("all alerts were sent", async || {
        let received = receiver.received().into_iter().filter(|request| request.path == "/api/v2/alerts");
        let alerts: Vec<_> =
            received.flat_map(|request| request.json().as_array().unwrap().clone()).collect();
        let names: Vec<_> = alerts.iter().map(|alert| alert["labels"]["alertname"].to_string()).collect();
        if names.len() >= WORKLOADS { Ok(names) } else { Err(names.len()) }
    })
    .await;
    // A repair ends no alert that has not fired.
    assert!(names.iter().all(|name| name == "\"ReplicaCountDrifted\""), "{names:?}");
    let first = wait_for(&receiver, "/slack/T000", |body| has(body, "drifted")).await.json();
    let blocks = first["blocks"].as_array().unwrap();
    assert!(blocks.len() <= 22 && has(blocks.last().unwrap(), " more workloads. Route people"), "{first}");
}

/// Nothing is told twice, also when another server takes over.
#[tokio::test]
async fn of_several_servers_the_holder_tells() {
    let control_plane = shared().await;
    let receiver = Receiver::start(control_plane).await.unwrap();
    let config = Config::new(control_plane, receiver.url());
    let mut fixture = with_crd(&["--notify-config", &config.path().display().to_string()]).await;
    wait_for_metric(&fixture.manager, "leader 1").await;
    let mut follower = Manager::start(&fixture.options).await.unwrap();
    follower.wait_ready().await.unwrap();
    fixture.create_managed("web", 3).await;
    fixture.kubectl_scale("web", 7);
    fixture.wait_for_count("web", 3).await;
    // A holder that ends writes no more Events.
    fixture.wait_for_events("Deployment", 3).await;
    let holder = std::mem::replace(&mut fixture.manager, follower);
    assert!(holder.terminate().await.unwrap().success());
    wait_for_metric(&fixture.manager, "leader 1").await;
    fixture.kubectl_scale("web", 8);
    fixture.wait_for_count("web", 3).await;

    let told = || {
        let mut counts = BTreeMap::<String, u64>::new();
        for request in receiver.received().iter().filter(|request| request.path == "/hook") {
            for (event, count) in request.json()["data"]["counts"].as_object().unwrap() {
                *counts.entry(event.clone()).or_default() += count.as_u64().unwrap();
            }
        }
        counts
    };
    let expected = [("drifted", 2), ("repaired", 2), ("set", 1)];
    let expected = BTreeMap::from(expected.map(|(event, count)| (event.to_owned(), count)));
    eventually("all is told", async || if told() == expected { Ok(()) } else { Err(told()) }).await;
    assert_eq!(fixture.wait_for_events("Deployment", 5).await.len(), 5);
    // Whatever would be told twice had time for it.
    assert!(fixture.manager.terminate().await.unwrap().success());
    assert_eq!(told(), expected);
}

#[tokio::test]
async fn a_changed_file_is_taken_over_if_it_is_valid() {
    let control_plane = shared().await;
    let receiver = Receiver::start(control_plane).await.unwrap();
    let config = Config::new(control_plane, receiver.url());
    let mut fixture = config.fixture(control_plane).await;
    config.replace("receiver: cards, events", "receiver: nobody, events");
    wait_for_metric(&fixture.manager, "notify_config_refused 1").await;
    let refused = logged(&fixture, "the previous ones stay in use").await;
    assert!(refused.contains("notify.yaml:11:29: there is no receiver \\\"nobody\\\""), "{refused}");
    config.replace("receiver: nobody, events: [drifted]", "receiver: cards, events: [set]");
    wait_for_metric(&fixture.manager, "notify_config_reloads_total 1").await;
    wait_for_metric(&fixture.manager, "notify_config_refused 0").await;
    fixture.create_managed("web", 3).await;
    wait_for(&receiver, "/teams/T000", |body| has(body, "client set the count to 3")).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_command_prints_and_sends_examples() {
    let control_plane = shared().await;
    let receiver = Receiver::start(control_plane).await.unwrap();
    let config = Config::new(control_plane, receiver.url());
    let text = |output: Output| {
        let text = String::from_utf8([output.stdout, output.stderr].concat()).unwrap();
        for secret in SECRETS {
            assert!(!text.contains(secret), "{text}");
        }
        (output.status.code(), text)
    };
    let (status, printed) = text(config.run(&["--dry-run"]));
    assert_eq!(status, Some(0), "{printed}");
    assert!(printed.starts_with("--- route people, receiver chat (slack at 127.0.0.1)\n{"), "{printed}");
    assert_eq!(printed.lines().filter(|line| line.starts_with("--- ")).count(), 4);
    assert!(receiver.received().is_empty());
    for route in ["people", "cards", "audit", "alerts"] {
        let (status, sent) = tokio::task::block_in_place(|| text(config.run(&["--test", route])));
        assert_eq!(status, Some(0), "{sent}");
        assert!(sent.starts_with("127.0.0.1 has accepted msg_"), "{sent}");
    }
    let received = receiver.received();
    let paths: Vec<_> = received.iter().map(|request| &*request.path).collect();
    assert_eq!(paths, ["/slack/T000", "/teams/T000", "/hook", "/api/v2/alerts"]);
    check_signature(&received[2]);

    receiver.behave([Behaviour::Status(404)]);
    let refused = tokio::task::block_in_place(|| text(config.run(&["--test", "people"])));
    assert_eq!(
        (refused.0, refused.1.contains("not accepted: 127.0.0.1 answered 404")),
        (Some(1), true),
        "{}",
        refused.1
    );
    let unknown = text(config.run(&["--test", "nobody"]));
    assert_eq!((unknown.0, unknown.1.contains("there is no route \"nobody\"")), (Some(64), true));
    config.replace("window: 1s", "window: 1");
    let (status, refused) = text(config.run(&["--dry-run"]));
    assert_eq!(status, Some(64), "{refused}");
    assert!(
        refused.ends_with("notify.yaml:1:9: \"1\" is no window: write 1s to 3600s, or 1m to 60m\n"),
        "{refused}"
    );
}

#[tokio::test]
async fn a_file_that_is_not_valid_is_refused_at_the_start() {
    let control_plane = shared().await;
    let config = Config::new(control_plane, "https://127.0.0.1:1");
    fs::remove_file(config.folder.join("key")).unwrap();
    let options = options(control_plane, &Scope::Cluster, &[]).await;
    let options = options.argument("--notify-config").argument(config.path());
    let (status, log) = Manager::start_expecting_failure(&options).await.unwrap();
    assert_eq!(status.code(), Some(64), "{log:?}");
    let expected = format!("{}/key cannot be read: entity not found", config.folder.display());
    assert!(log[0].contains("notify.yaml:7:") && log[0].ends_with(&expected), "{log:?}");
}
