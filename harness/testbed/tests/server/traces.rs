//! Traces, as a real collector gets them.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use replica_count_api::proto::DeploymentState;
use replica_count_testbed::control_plane::Scope;
use replica_count_testbed::manager::{self, Certificates};
use serde_json::{Value, json};
use tempfile::TempDir;
use tonic::Request;

use crate::fixture::{Fixture, SOMEBODY, eventually, options, shared, wait_for_metric};
use crate::proxies::Proxy;

/// The span of a caller, as it would send it.
const CALLER: &str = "00f067aa0ba902b7";
const TRACE: &str = "4bf92f3577b34da6a3ce929d0e0e4736";

/// A collector that writes what it gets to a file. It is killed when dropped.
struct Collector {
    child: Child,
    folder: TempDir,
    /// Where it takes gRPC over TLS.
    grpc: String,
    /// Where it takes HTTP.
    http: String,
    certificates: Certificates,
}

impl Drop for Collector {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Collector {
    async fn start() -> Self {
        let folder = TempDir::new().unwrap();
        let certificates = Certificates::ensure(folder.path().join("certificates")).unwrap();
        let [grpc, http] = [unused_address(), unused_address()];
        let config = json!({
            "receivers": { "otlp": { "protocols": {
                "grpc": {
                    "endpoint": grpc,
                    "tls": { "cert_file": certificates.certificate("server"), "key_file": certificates.key("server") },
                },
                "http": { "endpoint": http },
            } } },
            "exporters": { "file": { "path": folder.path().join("spans"), "flush_interval": "50ms" } },
            "service": {
                "telemetry": { "metrics": { "level": "none" } },
                "pipelines": { "traces": { "receivers": ["otlp"], "exporters": ["file"] } },
            },
        });
        let file = folder.path().join("config");
        fs::write(&file, config.to_string()).unwrap();
        let log = folder.path().join("log");
        let child = Command::new(program())
            .arg(format!("--config=file:{}", file.display()))
            .stderr(File::create(&log).unwrap())
            .spawn()
            .unwrap();
        let this = Self { child, folder, grpc, http, certificates };
        eventually("the collector is ready", async || {
            let log = fs::read_to_string(&log).unwrap();
            if log.contains("Everything is ready") { Ok(()) } else { Err(log) }
        })
        .await;
        this
    }

    /// The spans so far.
    fn spans(&self) -> Vec<Value> {
        let text = fs::read_to_string(self.folder.path().join("spans")).unwrap_or_default();
        // The last line may be written just now.
        let requests = text.lines().filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let spans = requests.flat_map(|mut request| {
            let resource = &mut request["resourceSpans"][0];
            assert_eq!(attribute(&resource["resource"], "service.name"), "replica-count-manager");
            let spans = resource["scopeSpans"][0]["spans"].take();
            spans.as_array().cloned().unwrap_or_default()
        });
        spans.collect()
    }

    /// Waits for a span that fits.
    async fn span(&self, what: &str, fits: impl Fn(&Value) -> bool) -> Value {
        eventually(&format!("there is a span {what}"), async || {
            let spans = self.spans();
            spans.iter().find(|span| fits(span)).cloned().ok_or(spans)
        })
        .await
    }
}

/// The program, which is built once.
fn program() -> PathBuf {
    let script = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../scripts/tool.sh");
    let output = Command::new(script).arg("otelcol").stderr(Stdio::inherit()).output().unwrap();
    assert!(output.status.success(), "{output:?}");
    String::from_utf8(output.stdout).unwrap().trim().into()
}

/// An address that nobody listens at.
fn unused_address() -> String {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().to_string()
}

/// An attribute, as text.
fn attribute(value: &Value, key: &str) -> String {
    let attributes = value["attributes"].as_array().cloned().unwrap_or_default();
    let value = attributes.into_iter().find(|attribute| attribute["key"] == key).unwrap_or_default();
    let text = |kind: &str| value["value"][kind].as_str().map(str::to_owned);
    text("stringValue").or_else(|| text("intValue")).unwrap_or_default()
}

async fn check(collector: &Collector, flags: &[&str]) {
    check_with(collector, options(shared().await, &Scope::Cluster, flags).await).await;
}

async fn check_with(collector: &Collector, options: manager::Options) {
    let mut fixture = Fixture::with_options(shared().await, options).await;
    fixture.create("web", 3).await;
    let namespace = fixture.namespace.clone();
    let is_of_test = |span: &Value| attribute(span, "k8s.namespace.name") == namespace;

    let mut request = Request::new(fixture.set_request("web", 5));
    let caller = format!("00-{TRACE}-{CALLER}-01");
    request.metadata_mut().insert("traceparent", caller.parse().unwrap());
    fixture.client.set_deployment(request).await.unwrap();
    fixture.wait_for_count("web", 5).await;
    let write = collector
        .span("of the write", |span| is_of_test(span) && span["name"] == "write deployments/scale")
        .await;
    assert_eq!(write["traceId"], TRACE);
    assert_eq!(attribute(&write, "replica_count.from"), "3");
    assert_eq!(attribute(&write, "replica_count.to"), "5");
    let set = collector.span("of the request", |span| span["spanId"] == write["parentSpanId"]).await;
    assert_eq!(set["name"], "proto.DeploymentsService/SetDeployment");
    assert_eq!((&set["traceId"], &set["parentSpanId"]), (&json!(TRACE), &json!(CALLER)));
    assert_eq!(attribute(&set, "user.name"), "client");

    fixture.scale("web", 7).await;
    fixture.wait_for_count("web", 5).await;
    let drift = collector.span("of the drift", |span| is_of_test(span) && span["name"] == "drift").await;
    assert_eq!(attribute(&drift, "drift.by"), SOMEBODY);
    assert_eq!(attribute(&drift, "drift.subresource"), "scale");
    assert_eq!(attribute(&drift, "drift.found"), "7");
    assert_eq!(attribute(&drift, "drift.outcome"), "repaired");
    assert_eq!(drift.get("parentSpanId"), None);
    let repair = collector.span("of the repair", |span| span["parentSpanId"] == drift["spanId"]).await;
    assert_eq!(repair["name"], "write deployments/scale");
    assert_eq!(repair["traceId"], drift["traceId"]);
    assert_ne!(drift["traceId"], TRACE);

    // Who does not record its own trace does not want to see what follows from it either.
    let mut request = Request::new(fixture.set_request("web", 6));
    let caller = format!("00-{}-{CALLER}-00", TRACE.replace('4', "5"));
    request.metadata_mut().insert("traceparent", caller.parse().unwrap());
    fixture.client.set_deployment(request).await.unwrap();
    fixture.wait_for_count("web", 6).await;
    collector
        .span("of the second write", |span| is_of_test(span) && attribute(span, "replica_count.to") == "6")
        .await;
    let caller = TRACE.replace('4', "5");
    assert!(collector.spans().iter().all(|span| span["traceId"] != caller.as_str()));
}

#[tokio::test]
async fn a_collector_gets_what_a_request_and_a_drift_lead_to() {
    let collector = Collector::start().await;
    check(&collector, &[&format!("--otlp-endpoint=http://{}", collector.http)]).await;
    let endpoint = format!("--otlp-endpoint=https://{}", collector.grpc);
    let authority = format!("--otlp-ca-file={}", collector.certificates.authority().display());
    check(&collector, &[&endpoint, "--otlp-protocol=grpc", &authority]).await;
}

/// A name in the certificate of the collector that no name server knows, so that only a proxy leads there.
const NAME: &str = "replica-count-manager.replica-count-manager.svc";

#[tokio::test]
async fn a_collector_is_reached_through_the_proxy_of_the_environment() {
    let collector = Collector::start().await;
    let check = async |scheme: &str, protocol: &str, address: &str| {
        let proxy = Proxy::start(address.to_owned()).await;
        let endpoint = format!("--otlp-endpoint={scheme}://{NAME}:4000");
        let protocol = format!("--otlp-protocol={protocol}");
        let authority = format!("--otlp-ca-file={}", collector.certificates.authority().display());
        let options = options(shared().await, &Scope::Cluster, &[&endpoint, &protocol, &authority]).await;
        let url = format!("http://me:p%40ss@{}", proxy.address);
        // The API server is at 127.0.0.1, which no proxy leads to.
        let options = options.variable(format!("{}_PROXY", scheme.to_uppercase()), url);
        check_with(&collector, options.variable("NO_PROXY", ".example.com")).await;
        let (seen, expected) = (proxy.seen(), format!("CONNECT {NAME}:4000 HTTP/1.1 200 OK"));
        assert!(!seen.is_empty() && seen.iter().all(|line| *line == expected), "{seen:?}");
    };
    check("https", "grpc", &collector.grpc).await;
    check("http", "http/protobuf", &collector.http).await;
}

#[tokio::test]
async fn a_collector_that_never_answers_delays_nothing() {
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    silent.set_nonblocking(true).unwrap();
    let endpoint = format!("--otlp-endpoint=http://{}", silent.local_addr().unwrap());
    let options = options(shared().await, &Scope::Cluster, &[&endpoint]).await;
    let mut fixture = Fixture::with_options(shared().await, options).await;
    fixture.create_managed("web", 3).await;
    // From now on, the exporter waits for an answer.
    let _connection = eventually("the exporter connects", async || silent.accept()).await;
    let started = Instant::now();
    fixture.scale("web", 7).await;
    fixture.wait_for_count("web", 3).await;
    fixture.wait_for_state("web", DeploymentState::InSync).await;
    assert!(started.elapsed() < Duration::from_secs(2), "{:?}", started.elapsed());
    wait_for_metric(&fixture.manager, "spans_sent_total 0").await;
    let started = Instant::now();
    let status = fixture.manager.terminate().await.unwrap();
    assert!(status.success(), "{status}");
    assert!(started.elapsed() < Duration::from_secs(5), "{:?}", started.elapsed());
}
