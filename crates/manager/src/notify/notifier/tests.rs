use std::fmt::Write as _;
use std::fs;
use std::net::SocketAddr;
use std::sync::Mutex;

use replica_count_core::history::entry::What;
use replica_count_core::history::sample::sample;
use replica_count_core::history::{Bounds, History};
use replica_count_core::leader::Term;
use serde_json::Value;
use tempfile::TempDir;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;
use tokio::sync::broadcast;

use super::*;
use crate::history::shared::Told;

/// A webhook that answers with these statuses, the last one for ever; a 0 is no answer.
struct Webhook {
    address: SocketAddr,
    bodies: Arc<Mutex<Vec<Value>>>,
}

impl Webhook {
    async fn start(statuses: &[u16]) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let this = Self { address: listener.local_addr().unwrap(), bodies: Arc::default() };
        let (bodies, statuses) = (Arc::clone(&this.bodies), statuses.to_vec());
        tokio::spawn(async move {
            loop {
                let (mut stream, _) = listener.accept().await.unwrap();
                let (bodies, statuses) = (Arc::clone(&bodies), statuses.clone());
                tokio::spawn(async move {
                    let mut text = Vec::new();
                    let body = loop {
                        assert!(stream.read_buf(&mut text).await.unwrap() > 0, "a whole request");
                        let request = String::from_utf8_lossy(&text);
                        let body = request.split_once("\r\n\r\n").map(|(_, body)| body);
                        if let Some(body) = body.and_then(|body| serde_json::from_str(body).ok()) {
                            break body;
                        }
                    };
                    let seen = {
                        let mut bodies = bodies.lock().unwrap();
                        bodies.push(body);
                        bodies.len()
                    };
                    let status = statuses[(seen - 1).min(statuses.len() - 1)];
                    if status == 0 {
                        pending::<()>().await;
                    }
                    let answer =
                        format!("HTTP/1.1 {status} X\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
                    stream.write_all(answer.as_bytes()).await.unwrap();
                });
            }
        });
        this
    }

    fn bodies(&self) -> Vec<Value> {
        self.bodies.lock().unwrap().clone()
    }
}

/// A configuration of one route for each webhook, with a window of a second.
fn config(webhooks: &[&Webhook]) -> Config {
    let (mut receivers, mut routes) = (String::new(), String::new());
    for (number, Webhook { address, .. }) in webhooks.iter().enumerate() {
        let _ = writeln!(receivers, "  - {{name: r{number}, webhook: {{url: 'http://{address}/'}}}}");
        let _ = writeln!(routes, "  - {{name: n{number}, receiver: r{number}}}");
    }
    load(&format!("window: 1s\nreceivers:\n{receivers}routes:\n{routes}"))
}

fn load(text: &str) -> Config {
    let _ = rustls::crypto::aws_lc_rs::default_provider().install_default();
    let folder = TempDir::new().unwrap();
    let path = folder.path().join("notify.yaml");
    fs::write(&path, text).unwrap();
    Config::load(&path).unwrap().0
}

/// What happens now.
fn now(name: &str, what: What) -> Entry {
    Entry { at: clock::now().wall, id: 1000, ..sample("shop", name, what) }
}

/// A route to Alertmanager, with a window of a second.
fn alertmanager(webhook: &Webhook) -> Config {
    load(&format!(
        "window: 1s\nreceivers:\n  - {{name: r, alertmanager: {{url: 'http://{}'}}}}\n\
         routes:\n  - {{name: n, receiver: r, severity: warning, events: [contested]}}\n",
        webhook.address
    ))
}

struct Running {
    events: broadcast::Sender<Happened>,
    metrics: NotifyMetrics,
    config: watch::Sender<Arc<Config>>,
    shutdown: CancellationToken,
    task: tokio::task::JoinHandle<()>,
}

impl Running {
    fn start(config: Config, leadership: Leadership) -> Self {
        Self::start_after(&[], config, leadership)
    }

    /// Starts a server that knows that this has happened.
    fn start_after(past: &[Entry], config: Config, leadership: Leadership) -> Self {
        let mut history = History::new(Bounds::DEFAULT);
        for entry in past {
            history.push(entry.clone(), 0);
        }
        let history = SharedHistory::new(history);
        let (events, happened) = broadcast::channel(32_768);
        let (config, metrics) = (watch::Sender::new(Arc::new(config)), NotifyMetrics::default());
        let notifier =
            Notifier { happened, history, config: config.subscribe(), leadership, metrics: metrics.clone() };
        let shutdown = CancellationToken::new();
        let task = tokio::spawn(notifier.run(shutdown.clone()));
        Self { events, metrics, config, shutdown, task }
    }

    fn drift(&self, name: &str) {
        self.add(name, What::Drifted);
    }

    fn add(&self, name: &str, what: What) {
        // What another server has told is not sent again.
        self.tell(&format!("{name}-of-another"), what, false);
        self.tell(name, what, true);
    }

    fn tell(&self, name: &str, what: What, is_own: bool) {
        self.events.send(Happened::event(now(name, what), is_own)).unwrap();
    }

    async fn wait_for(&self, totals: [u64; 3]) {
        let reached = async {
            while self.metrics.totals() != totals {
                tokio::time::sleep(Duration::from_millis(10)).await;
            }
        };
        let in_time = timeout(Duration::from_secs(20), reached).await;
        assert!(in_time.is_ok(), "{:?} instead of {totals:?}", self.metrics.totals());
    }

    async fn stop(self) {
        self.shutdown.cancel();
        self.task.await.unwrap();
    }
}

#[tokio::test]
async fn a_mass_drift_is_one_message_and_a_receiver_that_hangs_delays_no_other() {
    let (hangs, works) = (Webhook::start(&[0]).await, Webhook::start(&[200]).await);
    let running = Running::start(config(&[&hangs, &works]), Leadership::default());
    for name in 0..10_000 {
        running.drift(&format!("web-{name}"));
    }
    running.wait_for([1, 0, 0]).await;
    let bodies = works.bodies();
    assert_eq!((bodies.len(), &bodies[0]["data"]["workloads"]), (1, &10_000.into()));
    assert_eq!((bodies[0]["data"]["total"].as_u64(), hangs.bodies().len()), (Some(10_000), 1));
    running.stop().await;
}

#[tokio::test]
async fn a_message_is_repeated_as_it_was_until_it_is_accepted() {
    let webhook = Webhook::start(&[500, 429, 200]).await;
    let running = Running::start(config(&[&webhook]), Leadership::default());
    running.drift("web");
    running.wait_for([1, 0, 0]).await;
    let bodies = webhook.bodies();
    assert_eq!(bodies.len(), 3);
    assert!(bodies.iter().all(|body| *body == bodies[0]), "{bodies:?}");
    running.stop().await;
}

#[tokio::test]
async fn what_is_refused_or_redirected_is_given_up() {
    for status in [302, 404] {
        let webhook = Webhook::start(&[status]).await;
        let running = Running::start(config(&[&webhook]), Leadership::default());
        running.drift("web");
        running.wait_for([0, 1, 0]).await;
        assert_eq!(webhook.bodies().len(), 1);
        running.stop().await;
    }
}

#[tokio::test]
async fn what_was_collected_is_sent_at_the_end_and_before_a_change() {
    let (one, other) = (Webhook::start(&[200]).await, Webhook::start(&[200]).await);
    let running = Running::start(config(&[&one]), Leadership::default());
    running.drift("web");
    tokio::time::sleep(Duration::from_millis(50)).await;
    running.config.send_replace(Arc::new(config(&[&other])));
    running.wait_for([1, 0, 0]).await;
    running.drift("api");
    let metrics = running.metrics.clone();
    running.stop().await;
    assert_eq!(metrics.totals(), [2, 0, 0]);
    let seen = one.bodies().len() + other.bodies().len();
    assert_eq!(seen, 2);
}

#[tokio::test]
async fn too_many_messages_are_dropped_and_counted() {
    let webhook = Webhook::start(&[0]).await;
    let running = Running::start(config(&[&webhook]), Leadership::default());
    let (notifier, mut outbox) = (
        Notifier {
            happened: running.events.subscribe(),
            history: SharedHistory::new(History::new(Bounds::DEFAULT)),
            config: running.config.subscribe(),
            leadership: Leadership::default(),
            metrics: running.metrics.clone(),
        },
        Outbox::default(),
    );
    let config = Arc::clone(&running.config.borrow());
    for name in 0..MAX_WAITING + 5 {
        let happened = Happened::event(sample("shop", &format!("web-{name}"), What::Drifted), true);
        notifier.add(&mut outbox, &config, &happened);
        notifier.flush(&mut outbox, &config, None);
    }
    assert_eq!(running.metrics.totals(), [0, 0, 5]);
    running.stop().await;
}

#[tokio::test]
async fn only_the_holder_collects() {
    let webhook = Webhook::start(&[200]).await;
    let (term, holder) = (watch::Sender::default(), watch::Sender::default());
    let leadership = Leadership::elected(term.subscribe(), holder.subscribe());
    let running = Running::start(config(&[&webhook]), leadership);
    running.drift("web");
    running.stop().await;
    assert_eq!(webhook.bodies().len(), 0);
}

#[tokio::test]
async fn alertmanager_gets_all_alerts_of_its_route_and_their_ends() {
    let webhook = Webhook::start(&[200]).await;
    let running = Running::start(alertmanager(&webhook), Leadership::default());
    let contested = 1001;
    for name in 0..contested {
        running.add(&format!("web-{name}"), What::Contested);
        running.drift(&format!("web-{name}"));
    }
    running.wait_for([2, 0, 0]).await;
    running.add("web-0", What::Deleted);
    running.wait_for([3, 0, 0]).await;
    let bodies = webhook.bodies();
    let sizes: Vec<_> = bodies.iter().map(|body| body.as_array().unwrap().len()).collect();
    assert_eq!(sizes, [1000, 1, 1]);
    let resolved = &bodies[2][0];
    assert_eq!((&resolved["labels"]["name"], &resolved["endsAt"]), (&"web-0".into(), &resolved["startsAt"]));
    running.stop().await;
}

#[tokio::test]
async fn alertmanager_gets_the_ends_of_what_another_server_or_the_one_before_has_sent() {
    let webhook = Webhook::start(&[200]).await;
    let past = [now("before", What::Contested)];
    let running = Running::start_after(&past, alertmanager(&webhook), Leadership::default());
    running.tell("other", What::Contested, false);
    for name in ["before", "other", "unknown"] {
        running.tell(name, What::Calmed, true);
    }
    running.wait_for([1, 0, 0]).await;
    let bodies = webhook.bodies();
    let names: Vec<_> =
        bodies[0].as_array().unwrap().iter().map(|alert| alert["labels"]["name"].as_str()).collect();
    assert_eq!(names, [Some("before"), Some("other")]);
    running.stop().await;
}

/// A server with ReplicaCounts reads the history after its start, and the term begins later.
#[tokio::test]
async fn a_new_holder_recalls_what_it_has_read_meanwhile() {
    let webhook = Webhook::start(&[200]).await;
    let (history, mut recorder) = crate::history::in_objects(Bounds::DEFAULT);
    let (term, holder) = (watch::Sender::default(), watch::Sender::default());
    let leadership = Leadership::elected(term.subscribe(), holder.subscribe());
    let (events, happened) = broadcast::channel(16);
    let (config, metrics) = (watch::Sender::new(Arc::new(alertmanager(&webhook))), NotifyMetrics::default());
    let notifier =
        Notifier { happened, history, config: config.subscribe(), leadership, metrics: metrics.clone() };
    let shutdown = CancellationToken::new();
    let task = tokio::spawn(notifier.run(shutdown.clone()));
    let contested = Entry { id: 900, ..now("web", What::Contested) };
    recorder.adopt(Told {
        target: contested.target.clone(),
        entries: vec![contested],
        missing: 0,
        version: 1,
        is_latest: true,
        is_news: false,
    });
    let may_write_until = (Instant::now() + Duration::from_mins(1)).into_std();
    term.send_replace(Some(Term { number: 1, may_write_until }));
    events.send(Happened::event(now("web", What::Calmed), true)).unwrap();
    let deadline = Instant::now() + Duration::from_secs(10);
    while webhook.bodies().is_empty() {
        assert!(Instant::now() < deadline, "nothing was sent");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    assert_eq!(webhook.bodies()[0][0]["labels"]["name"], "web");
    shutdown.cancel();
    task.await.unwrap();
}
