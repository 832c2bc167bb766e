//! A server without a cluster: its API server accepts connections but never answers.

use std::fs;
use std::io::ErrorKind;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};

use replica_count_testbed::manager;
use serde_json::json;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt as _, BufReader};
use tokio::sync::mpsc;
use tokio::task::JoinSet;

use crate::fixture::testbed;

/// A folder for a server, and a listener in place of its API server.
pub(crate) struct Standalone {
    folder: TempDir,
    api_server: TcpListener,
}

impl Standalone {
    pub(crate) fn new() -> Self {
        let api_server = TcpListener::bind("127.0.0.1:0").unwrap();
        api_server.set_nonblocking(true).unwrap();
        let this = Self { folder: TempDir::new().unwrap(), api_server };
        let url = format!("http://{}", this.api_server.local_addr().unwrap());
        let kubeconfig = json!({
            "apiVersion": "v1",
            "kind": "Config",
            "clusters": [{ "name": "silent", "cluster": { "server": url } }],
            "users": [{ "name": "silent", "user": {} }],
            "contexts": [{ "name": "silent", "context": { "cluster": "silent", "user": "silent" } }],
            "current-context": "silent",
        });
        fs::write(this.kubeconfig(), kubeconfig.to_string()).unwrap();
        this
    }

    pub(crate) fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    pub(crate) fn kubeconfig(&self) -> PathBuf {
        self.path("kubeconfig")
    }

    /// Where connections are accepted and never answered.
    pub(crate) fn address(&self) -> SocketAddr {
        self.api_server.local_addr().unwrap()
    }

    /// The options of the server, with extra flags.
    pub(crate) fn options(&self, arguments: &[&str]) -> manager::Options {
        self.options_with(&self.kubeconfig(), arguments)
    }

    /// The same with another kubeconfig.
    pub(crate) fn options_with(&self, kubeconfig: &Path, arguments: &[&str]) -> manager::Options {
        let options = manager::Options::new(testbed(), kubeconfig, self.folder.path()).unwrap();
        arguments.iter().fold(options, manager::Options::argument)
    }

    /// Whether the server has connected to its API server.
    pub(crate) fn was_contacted(&self) -> bool {
        match self.api_server.accept() {
            Ok(_) => true,
            Err(error) if error.kind() == ErrorKind::WouldBlock => false,
            Err(error) => panic!("{error}"),
        }
    }

    /// Waits for a request with `words` in a line. The returned value keeps the connections open.
    pub(crate) async fn wait_for_request(&self, words: &str) -> JoinSet<()> {
        let listener = tokio::net::TcpListener::from_std(self.api_server.try_clone().unwrap()).unwrap();
        let (sender, mut lines) = mpsc::unbounded_channel();
        let mut connections = JoinSet::new();
        loop {
            tokio::select! {
                accepted = listener.accept() => {
                    let (stream, _) = accepted.unwrap();
                    let sender = sender.clone();
                    connections.spawn(async move {
                        let mut stream = BufReader::new(stream).lines();
                        while let Ok(Some(line)) = stream.next_line().await {
                            if sender.send(line).is_err() {
                                std::future::pending::<()>().await;
                            }
                        }
                    });
                }
                line = lines.recv() => if line.unwrap().contains(words) { return connections },
            }
        }
    }
}
