//! Servers with all that can be switched on. Their API server refuses connections, which no metric needs.

use std::fs;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::thread;
use std::time::{Duration, Instant};

use clap::Parser;
use replica_count_cli::certs::CertsArgs;
use serde_json::{Value, json};
use tempfile::TempDir;

/// How long a server may take to start, and to send its first request.
const PATIENCE: Duration = Duration::from_secs(30);

/// The flags of a server, as the documentation names them, and further ones that it needs.
pub(crate) type Flags = (&'static str, &'static [&'static str]);

/// A server as most people run it, and one for each flag that adds metrics.
pub(crate) const SERVERS: [Flags; 7] = [
    ("", &[]),
    ("--guard", &["--guard=warn"]),
    ("--store=crd", &["--store=crd", "--lease-namespace=tools"]),
    ("--authorization-mode=rbac", &["--authorization-mode=rbac"]),
    ("--target-metrics", &["--target-metrics"]),
    ("--notify-config", &[NOTIFY_CONFIG]),
    ("--otlp-endpoint", &["--otlp-endpoint=http://127.0.0.1:1"]),
];

/// A flag for a file that each server has.
const NOTIFY_CONFIG: &str = "--notify-config=notify.yaml";

#[derive(Parser)]
struct Cli {
    #[command(flatten)]
    certs: CertsArgs,
}

/// A running server, which is killed when dropped.
struct Server {
    child: Child,
    http: SocketAddr,
    _folder: TempDir,
}

impl Drop for Server {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

impl Server {
    fn start(flags: &[&str]) -> Self {
        let folder = TempDir::new().unwrap();
        let path = |name: &str| folder.path().join(name).to_string_lossy().into_owned();
        Cli::try_parse_from(["certs", "--dir", &path("certificates")]).unwrap().certs.run().unwrap();
        fs::write(path("kubeconfig"), kubeconfig().to_string()).unwrap();
        fs::write(path("replicas.json"), r#"[{"name":"web","namespace":"shop","replicas":3}]"#).unwrap();
        let notify = "receivers: [{name: a, webhook: {url: \"http://127.0.0.1:1\"}}]\nroutes: [{name: a, receiver: a}]";
        fs::write(path("notify.yaml"), notify).unwrap();
        let mut command = Command::new(env!("CARGO_BIN_EXE_replica-count-manager"));
        let files = [
            ("--kubeconfig", "kubeconfig"),
            ("--file-path", "replicas.json"),
            ("--cert-file", "certificates/server/server.crt"),
            ("--key-file", "certificates/server/server.key"),
            ("--ca-cert-file", "certificates/ca/ca.crt"),
        ];
        command.args(files.iter().flat_map(|(flag, name)| [(*flag).to_owned(), path(name)]));
        command.args(["--grpc-address=127.0.0.1:0", "--http-address=127.0.0.1:0", "--log-format=json"]);
        let mut child =
            command.args(flags).current_dir(&folder).env_clear().stderr(Stdio::piped()).spawn().unwrap();
        let mut lines = BufReader::new(child.stderr.take().unwrap()).lines().map(Result::unwrap);
        let http = lines.find_map(|line| {
            let line: Value = serde_json::from_str(&line).ok()?;
            line["http"].as_str()?.parse().ok()
        });
        // Somebody has to read them.
        thread::spawn(move || lines.for_each(drop));
        Self { child, http: http.expect("the server says where it listens"), _folder: folder }
    }

    fn get(&self, accept: &str) -> String {
        let mut stream = TcpStream::connect(self.http).unwrap();
        write!(stream, "GET /metrics HTTP/1.1\r\nHost: localhost\r\nAccept: {accept}\r\n\r\n").unwrap();
        let mut response = String::new();
        stream.read_to_string(&mut response).unwrap();
        let (head, body) = response.split_once("\r\n\r\n").unwrap();
        assert!(head.starts_with("HTTP/1.1 200 OK\r\n"), "{head}");
        body.to_owned()
    }
}

/// Runs a server with these flags, and returns its metrics once it has sent a request to its API server.
pub(crate) fn scrape((_, flags): Flags, accept: &str) -> String {
    let (server, started) = (Server::start(flags), Instant::now());
    loop {
        let metrics = server.get(accept);
        if metrics.contains("kubernetes_requests_total{")
            && metrics.contains("certificate_expiration_timestamp")
        {
            return metrics;
        }
        assert!(started.elapsed() < PATIENCE, "{metrics}");
    }
}

/// An API server at a port that nobody listens at.
fn kubeconfig() -> Value {
    let unused = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    json!({
        "apiVersion": "v1",
        "kind": "Config",
        "clusters": [{ "name": "none", "cluster": { "server": format!("http://{unused}") } }],
        "users": [{ "name": "none", "user": {} }],
        "contexts": [{ "name": "none", "context": { "cluster": "none", "user": "none" } }],
        "current-context": "none",
    })
}
