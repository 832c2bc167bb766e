//! The local server of `kubectl replicas ui`: what its page sees of a real server, and who may use it.

use std::time::Duration;

use replica_count_testbed::Page;
use replica_count_testbed::page::Setup;
use serde_json::{Value, json};
use tokio::io::{AsyncBufReadExt as _, AsyncWriteExt as _, BufReader, Lines};
use tokio::net::TcpStream;
use tokio::time;

use crate::fixture::{Fixture, shared, testbed};

/// How long the next message may take.
const DEADLINE: Duration = Duration::from_secs(30);

impl Fixture<'_> {
    /// The page of the client that may do everything.
    async fn page(&self) -> Page {
        let testbed = testbed();
        let setup = Setup {
            testbed: &testbed,
            server: self.manager.grpc_address(),
            certificates: self.manager.certificates(),
            user: "client",
            kubeconfig: self.control_plane.admin_kubeconfig(),
        };
        let log = self.options.store().with_file_name("page.log");
        Page::start(setup, log, &[]).await.unwrap()
    }
}

/// A call, of which the answer is read line by line. The first one is the status.
struct Call {
    lines: Lines<BufReader<TcpStream>>,
}

impl Call {
    async fn send(page: &Page, path: &str, token: &str, host: &str, body: &Value) -> Self {
        let mut stream = TcpStream::connect(page.host().unwrap()).await.unwrap();
        let body = body.to_string();
        let request = format!(
            "POST {path} HTTP/1.1\r\nHost: {host}\r\nOrigin: http://{host}\r\nAuthorization: Bearer {token}\r\n\
             Content-Type: application/json\r\nContent-Length: {}\r\nConnection: close\r\n\r\n{body}",
            body.len()
        );
        stream.write_all(request.as_bytes()).await.unwrap();
        Self { lines: BufReader::new(stream).lines() }
    }

    async fn stream(page: &Page, namespace: &str) -> Self {
        let body = json!({ "namespace": namespace });
        let (token, host) = (page.token().unwrap(), page.host().unwrap());
        let mut call = Self::send(page, "/api/stream", token, host, &body).await;
        assert_eq!(call.status().await, 200);
        call
    }

    async fn line(&mut self) -> String {
        time::timeout(DEADLINE, self.lines.next_line()).await.unwrap().unwrap().unwrap()
    }

    async fn status(&mut self) -> u16 {
        self.line().await.split(' ').nth(1).unwrap().parse().unwrap()
    }

    /// The next message with this name. Others are skipped.
    async fn next(&mut self, name: &str) -> Value {
        let head = format!("event: {name}");
        while self.line().await != head {}
        let data = self.line().await;
        serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap()
    }

    /// The next state of a workload in which `is_right` holds.
    async fn row(&mut self, name: &str, is_right: impl Fn(&Value) -> bool) -> Value {
        loop {
            let changes = self.next("rows").await;
            let rows = changes["rows"].as_array().unwrap();
            if let Some(row) = rows.iter().find(|row| row["name"] == name && is_right(row)) {
                return row.clone();
            }
        }
    }
}

#[tokio::test]
async fn the_stream_of_the_page_goes_on_after_a_restart_of_the_server() {
    let mut fixture = Fixture::new().await;
    fixture.create_managed("web", 3).await;
    fixture.create("unmanaged", 1).await;
    let page = fixture.page().await;
    let mut stream = Call::stream(&page, &fixture.namespace).await;
    let row = stream.row("web", |_| true).await;
    assert_eq!(
        (&row["state"], &row["desired"], &row["kind"]),
        (&json!("IN_SYNC"), &json!(3), &json!("Deployment"))
    );
    stream.next("live").await;

    fixture.kubectl_scale("web", 7);
    let drifted = stream.next("event").await;
    let author = (&drifted["what"], &drifted["by"], &drifted["certainty"], &drifted["subresource"]);
    assert_eq!(author, (&json!("DRIFTED"), &json!("kubectl"), &json!("CLAIMED"), &json!("scale")));
    assert_eq!((&drifted["from"], &drifted["to"]), (&json!(3), &json!(7)));
    assert_eq!(stream.next("event").await["what"], "REPAIRED");
    // Nothing happens to what is not managed, but its row follows.
    fixture.kubectl_scale("unmanaged", 2);
    stream.row("unmanaged", |row| row["current"] == 2).await;

    let address = fixture.manager.grpc_address().to_string();
    fixture.options = fixture.options.argument("--grpc-address").argument(address);
    let fixture =
        fixture.restart_after(async |manager| assert!(manager.terminate().await.unwrap().success())).await;
    let lost = stream.next("lost").await;
    assert_eq!((&lost["code"], &lost["reason"]), (&json!("Unavailable"), &json!("SHUTTING_DOWN")));
    stream.next("live").await;
    fixture.kubectl_scale("web", 8);
    assert_eq!(stream.next("event").await["to"], 8);
}

#[tokio::test]
async fn a_page_shows_the_one_kind_that_its_server_manages() {
    let mut fixture = Fixture::with(shared().await, &["--kinds=deployments"]).await;
    fixture.create("web", 3).await;
    let page = fixture.page().await;
    let mut stream = Call::stream(&page, &fixture.namespace).await;
    // A page that is refused tries again and again.
    time::timeout(DEADLINE, stream.next("live")).await.unwrap();
    fixture.set("web", 3).await;
    assert_eq!(stream.next("event").await["what"], "SET");
    fixture.delete_setting("web").await;
    fixture.kubectl_scale("web", 4);
    let row = stream.row("web", |row| row["current"] == 4).await;
    assert_eq!(row["state"], "UNMANAGED");
}

#[tokio::test]
async fn only_the_page_may_call_its_server() {
    let fixture = Fixture::new().await;
    let page = fixture.page().await;
    let (token, host) = (page.token().unwrap(), page.host().unwrap());
    let other = format!("evil.example:{}", host.split(':').nth(1).unwrap());
    for (token, host, expected) in [(token, host, 200), ("wrong", host, 403), (token, &*other, 403)] {
        let mut call = Call::send(&page, "/api/about", token, host, &json!({})).await;
        assert_eq!(call.status().await, expected, "{host}");
    }
}
